/* Gradients through the sweep: the same steps backwards.

   For cotangents g_u of u, g_l of the log-determinant, g_p of the raw outputs and g_h of the
   pre-activations, position by position from the last,

       dv/du_j a_j = g_u_j + (W_0^T c_0)_j,           C_j = g_p_j - a_j dv/dp_j - g_l dl/dp_j,
       c_l = g_h_l + act'(pre_l) (W_{l+1}^T c_{l+1}),   the last from C;

   see the wings' transposed_sweep.py for the whole story. The log-slopes of these laws do not
   depend on u. */

#include "tile.h"

typedef struct {
    vec *u, *raw, *g_u, *g_l, *g_raw, *a, *c_raw, *c_scale;
    vec **pre, **c, **heard; /* c starts as g_h */
} Back;

/* Steps that are taken together: what they hear of all later ones is one product of many columns,
   which leaves short ones among themselves. A step alone is often a single column, and a sum of
   products for one column waits for each addition. */
enum { BLOCK = 8 };

/* Columns start .. stop of a linear layer's weights, transposed, times cotangents of rows. */
static void transposed(const REAL *weights, int64_t inputs, int64_t first_row, int64_t last_row,
                       int64_t start, int64_t stop, const vec *cotangents, vec *out) {
    const REAL *columns[CHUNK];
    vec *results[CHUNK];
    for (int64_t from = start; from < stop; from += CHUNK) {
        int64_t count = stop - from < CHUNK ? stop - from : CHUNK;
        for (int64_t i = 0; i < count; i++) {
            columns[i] = weights + first_row * inputs + from + i;
            results[i] = out + (from + i) * VECTORS;
        }
        product(count, columns, inputs, last_row - first_row, cotangents + first_row * VECTORS,
                results);
    }
}

/* The same for the output layer and positions first .. last. Rows of raw outputs are sorted by
   parameter, as the weights are. */
static void from_outputs(const Layer *layer, int64_t first, int64_t last, int64_t start,
                         int64_t stop, const Back *back, vec *out) {
    int64_t D = layer->dims, inputs = layer->hidden ? layer->widths[layer->hidden - 1] : D;
    for (int64_t p = 0; p < layer->params; p++)
        transposed(layer->weights[layer->hidden], inputs, p * D + first, p * D + last, start, stop,
                   back->c_raw, out);
}

/* What the law's derivatives need of its parameters. No position waits for another here, and short
   loops let the processor work on many exponentials at once. Raw log-scales become the slopes of
   bounded ones, c_scale what divides by the slope of the law. */
static void law_slopes(const Layer *layer, const Back *back) {
    vec *divisor = back->c_scale;
    REAL bound = layer->bound, sign = layer->inverted ? 1 : -1;
    for (int64_t i = 0; i < layer->dims * VECTORS; i++) {
        vec *raw = back->raw + (i / VECTORS * 2 + 1) * VECTORS + i % VECTORS;
        vec gate = sigmoid(*raw * (2 / bound));
        divisor[i] = sign * ((layer->free[i / VECTORS] - bound) + 2 * bound * gate);
        *raw = 4 * gate * (1 - gate);
    }
    for (int64_t i = 0; i < layer->dims * VECTORS; i++) divisor[i] = vexp(divisor[i]);
}

static void position(const Layer *layer, int64_t j, const Back *back) {
    int64_t D = layer->dims;
    for (int i = 0; i < VECTORS; i++) {
        int64_t here = j * VECTORS + i;
        vec right = back->a[here] + back->g_u[here], u = back->u[here];
        if (!layer->affine) { /* v = u + t, or u - t where the law is inverted */
            back->a[here] = right;
            back->c_raw[here] = back->g_raw[here] + (layer->inverted ? right : -right);
            continue;
        }
        vec shift = back->raw[(j * 2) * VECTORS + i], slope = back->raw[(j * 2 + 1) * VECTORS + i];
        vec a = right * back->c_scale[here], by_scale;
        if (layer->inverted) { /* v = (u - t) exp(-s), l = -s */
            back->c_raw[here] = right;
            by_scale = right * (u - shift) + back->g_l[i];
        } else { /* v = u exp(s) + t, l = s */
            back->c_raw[here] = -a;
            by_scale = -right * u - back->g_l[i];
        }
        back->a[here] = a;
        back->c_scale[here] = by_scale;
        back->c_raw[here] += back->g_raw[(j * 2) * VECTORS + i];
        back->c_raw[D * VECTORS + here] =
            by_scale * slope + back->g_raw[(j * 2 + 1) * VECTORS + i];
    }
}

/* What steps first .. last hear of those from `from` on, or of those from `from` to `to`. */
static void hear_positions(const Layer *layer, int64_t first, int64_t last, int64_t from,
                           int64_t to, const Back *back) {
    int64_t start = layer->positions[first], stop = layer->positions[last];
    if (layer->hidden)
        transposed(layer->weights[0], layer->dims, layer->units[from], layer->units[to], start,
                   stop, back->c[0], back->a);
    else
        from_outputs(layer, layer->positions[from], layer->positions[to], start, stop, back,
                     back->a);
}

static void hear_units(const Layer *layer, int64_t k, int64_t first, int64_t last, int64_t from,
                       int64_t to, const Back *back) {
    int64_t S = layer->steps + 1;
    const int64_t *units = layer->units + k * S, *next = units + S;
    if (k == layer->hidden - 1)
        from_outputs(layer, layer->positions[from], layer->positions[to], units[first],
                     units[last], back, back->heard[k]);
    else
        transposed(layer->weights[k + 1], layer->widths[k], next[from], next[to], units[first],
                   units[last], back->c[k + 1], back->heard[k]);
}

static void step_back(const Layer *layer, int64_t step, int64_t last, const Back *back) {
    int64_t S = layer->steps + 1;
    hear_positions(layer, step, step + 1, step + 1, last, back);
    for (int64_t j = layer->positions[step]; j < layer->positions[step + 1]; j++)
        position(layer, j, back);
    for (int64_t k = layer->hidden - 1; k >= 0; k--) {
        const int64_t *units = layer->units + k * S;
        hear_units(layer, k, step, step + 1, step, last, back);
        for (int64_t i = units[step] * VECTORS; i < units[step + 1] * VECTORS; i++)
            back->c[k][i] +=
                back->heard[k][i] * activation_slope((int)layer->activation, back->pre[k][i]);
    }
}

static void steps_back(const Layer *layer, const Back *back) {
    memset(back->a, 0, (size_t)(layer->dims * TILE_BYTES));
    for (int64_t k = 0; k < layer->hidden; k++)
        memset(back->heard[k], 0, (size_t)(layer->widths[k] * TILE_BYTES));
    if (layer->affine) law_slopes(layer, back);
    for (int64_t last = layer->steps; last > 0; last -= BLOCK) {
        int64_t first = last > BLOCK ? last - BLOCK : 0;
        hear_positions(layer, first, last, last, layer->steps, back);
        for (int64_t k = 0; k < layer->hidden; k++)
            hear_units(layer, k, first, last, last, layer->steps, back);
        for (int64_t step = last - 1; step >= first; step--) step_back(layer, step, last, back);
    }
}

static void optional_in(vec *tile, const REAL *values, int64_t rows, int64_t p, int64_t count,
                        int64_t points) {
    if (values)
        rows_in(tile, values + p, rows, count, points);
    else
        memset(tile, 0, (size_t)(rows * TILE_BYTES));
}

int flowkit_pullback(const Layer *layer, int64_t points, int64_t first, int64_t last, const REAL *u,
                     const REAL *raw, const REAL *const *pres, const REAL *g_u, const REAL *g_l,
                     const REAL *g_raw, const REAL *const *g_pres, REAL *a, REAL *c_raw,
                     REAL *c_scale, REAL *const *c_pres) {
    int64_t D = layer->dims, P = layer->params, K = layer->hidden, rows = D * (4 + 3 * P) + 1;
    for (int64_t k = 0; k < K; k++) rows += 3 * layer->widths[k];
    char *memory = aligned_alloc(64, (size_t)rows * TILE_BYTES);
    vec **tables = malloc((size_t)(3 * K + 1) * sizeof(vec *));
    if (!memory || !tables) {
        free(memory);
        free(tables);
        return 1;
    }
    char *next = memory;
    Back back = {.u = take(&next, D), .raw = take(&next, D * P), .g_u = take(&next, D),
                 .g_l = take(&next, 1), .g_raw = take(&next, D * P), .a = take(&next, D),
                 .c_raw = take(&next, D * P), .c_scale = take(&next, D),
                 .pre = tables, .c = tables + K, .heard = tables + 2 * K};
    for (int64_t k = 0; k < 3 * K; k++) tables[k] = take(&next, layer->widths[k % K]);
    for (int64_t p = first; p < last; p += TILE) {
        int64_t count = last - p < TILE ? last - p : TILE;
        values_in(layer, back.u, u, D, p, count, points);
        values_in(layer, back.g_u, g_u, D, p, count, points);
        optional_in(back.g_l, g_l, 1, p, count, points);
        optional_in(back.g_raw, g_raw, D * P, p, count, points);
        rows_in(back.raw, raw + p, D * P, count, points);
        for (int64_t k = 0; k < K; k++) {
            rows_in(back.pre[k], pres[k] + p, layer->widths[k], count, points);
            optional_in(back.c[k], g_pres ? g_pres[k] : 0, layer->widths[k], p, count, points);
        }
        steps_back(layer, &back);
        values_out(layer, a, back.a, D, p, count, points);
        for (int64_t r = 0; c_raw && r < D * P; r++) {
            int64_t to = layer->by_feature ? r % D * P + r / D : r;
            rows_out(c_raw + to * points + p, back.c_raw + r * VECTORS, 1, count, points);
        }
        if (c_scale) rows_out(c_scale + p, back.c_scale, D, count, points);
        for (int64_t k = 0; c_pres && k < K; k++)
            rows_out(c_pres[k] + p, back.c[k], layer->widths[k], count, points);
    }
    free(memory);
    free(tables);
    return 0;
}
