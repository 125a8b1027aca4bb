/* Gradients through the sweep: the same steps backwards.

   For cotangents g_u of u, g_l of the log-determinant, g_p of the raw outputs and g_h of the
   pre-activations, position by position from the last,

       dv/du_j a_j = g_u_j + (W_0^T c_0)_j,           C_j = g_p_j - a_j dv/dp_j - g_l dl/dp_j,
       c_l = g_h_l + act'(pre_l) (W_{l+1}^T c_{l+1}),   the last from C;

   see the wings' transposed_sweep.py for the whole story. The log-slopes of these laws do not
   depend on u. */

#include "tile.h"

typedef struct {
    vec *u, *raw, *g_u, *g_l, *g_raw, *a, *c_raw, *c_scale, *heard;
    vec **pre, **c; /* c starts as g_h */
} Back;

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

/* Cotangents of the output layer's inputs, from positions first .. dims. Rows of raw outputs are
   sorted by parameter, as the weights are. */
static void from_outputs(const Layer *layer, int64_t first, int64_t start, int64_t stop,
                         const Back *back, vec *out) {
    int64_t D = layer->dims, inputs = layer->hidden ? layer->widths[layer->hidden - 1] : D;
    for (int64_t p = 0; p < layer->params; p++)
        transposed(layer->weights[layer->hidden], inputs, p * D + first, (p + 1) * D, start, stop,
                   back->c_raw, out);
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
        vec shift = back->raw[(j * 2) * VECTORS + i];
        vec gate = sigmoid(back->raw[(j * 2 + 1) * VECTORS + i] * (2 / layer->bound));
        vec s = (layer->free[j] - layer->bound) + 2 * layer->bound * gate, a, by_scale;
        if (layer->inverted) { /* v = (u - t) exp(-s), l = -s */
            a = right * vexp(s);
            back->c_raw[here] = right;
            by_scale = right * (u - shift) + back->g_l[i];
        } else { /* v = u exp(s) + t, l = s */
            a = right * vexp(-s);
            back->c_raw[here] = -a;
            by_scale = -right * u - back->g_l[i];
        }
        back->a[here] = a;
        back->c_scale[here] = by_scale;
        back->c_raw[here] += back->g_raw[(j * 2) * VECTORS + i];
        back->c_raw[D * VECTORS + here] =
            by_scale * 4 * gate * (1 - gate) + back->g_raw[(j * 2 + 1) * VECTORS + i];
    }
}

static void step_back(const Layer *layer, int64_t step, const Back *back) {
    int64_t K = layer->hidden, S = layer->steps + 1, D = layer->dims;
    int64_t start = layer->positions[step], stop = layer->positions[step + 1];
    /* What the step's own positions hear: from units, or outputs, of later steps. */
    memset(back->a + start * VECTORS, 0, (size_t)((stop - start) * TILE_BYTES));
    if (K)
        transposed(layer->weights[0], D, layer->units[step + 1], layer->widths[0], start, stop,
                   back->c[0], back->a);
    else
        from_outputs(layer, stop, start, stop, back, back->a);
    for (int64_t j = start; j < stop; j++) position(layer, j, back);
    for (int64_t k = K - 1; k >= 0; k--) {
        int64_t first = layer->units[k * S + step], last = layer->units[k * S + step + 1];
        memset(back->heard + first * VECTORS, 0, (size_t)((last - first) * TILE_BYTES));
        if (k == K - 1)
            from_outputs(layer, start, first, last, back, back->heard);
        else
            transposed(layer->weights[k + 1], layer->widths[k], layer->units[(k + 1) * S + step],
                       layer->widths[k + 1], first, last, back->c[k + 1], back->heard);
        for (int64_t i = first * VECTORS; i < last * VECTORS; i++)
            back->c[k][i] +=
                back->heard[i] * activation_slope((int)layer->activation, back->pre[k][i]);
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
    int64_t D = layer->dims, P = layer->params, K = layer->hidden, widest = 0;
    int64_t rows = D * (4 + 3 * P) + 1;
    for (int64_t k = 0; k < K; k++) {
        rows += 2 * layer->widths[k];
        if (layer->widths[k] > widest) widest = layer->widths[k];
    }
    char *memory = aligned_alloc(64, (size_t)(rows + widest) * TILE_BYTES);
    vec **tables = malloc((size_t)(2 * K + 1) * sizeof(vec *));
    if (!memory || !tables) {
        free(memory);
        free(tables);
        return 1;
    }
    char *next = memory;
    Back back = {.u = take(&next, D), .raw = take(&next, D * P), .g_u = take(&next, D),
                 .g_l = take(&next, 1), .g_raw = take(&next, D * P), .a = take(&next, D),
                 .c_raw = take(&next, D * P), .c_scale = take(&next, D),
                 .heard = take(&next, widest), .pre = tables, .c = tables + K};
    for (int64_t k = 0; k < 2 * K; k++) tables[k] = take(&next, layer->widths[k % K]);
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
        for (int64_t step = layer->steps - 1; step >= 0; step--) step_back(layer, step, &back);
        values_out(layer, a, back.a, D, p, count, points);
        for (int64_t r = 0; r < D * P; r++) {
            int64_t to = layer->by_feature ? r % D * P + r / D : r;
            rows_out(c_raw + to * points + p, back.c_raw + r * VECTORS, 1, count, points);
        }
        if (c_scale) rows_out(c_scale + p, back.c_scale, D, count, points);
        for (int64_t k = 0; k < K; k++)
            rows_out(c_pres[k] + p, back.c[k], layer->widths[k], count, points);
    }
    free(memory);
    free(tables);
    return 0;
}
