/* Gradients through the sweep: the same steps backwards.

   For cotangents g_u of u and g_l of the log-determinant, position by position from the last,

       dv/du_j a_j = g_u_j + (W_0^T c_0)_j,     C_j = -a_j dv/dp_j - g_l dl/dp_j,
       c_l = act'(pre_l) (W_{l+1}^T c_{l+1}),   the last from C;

   see transposed_sweep.py for the whole story. The log-slopes of these laws do not depend on u. */

#include "tile.h"

typedef struct {
    vec *u, *raw, *g_u, *g_l, *a, *c_raw, *c_scale;
    vec **pre, **c;
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
            back->c_raw[here] = layer->inverted ? right : -right;
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
        back->c_raw[D * VECTORS + here] = by_scale * 4 * gate * (1 - gate);
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
        memset(back->c[k] + first * VECTORS, 0, (size_t)((last - first) * TILE_BYTES));
        if (k == K - 1)
            from_outputs(layer, start, first, last, back, back->c[k]);
        else
            transposed(layer->weights[k + 1], layer->widths[k], layer->units[(k + 1) * S + step],
                       layer->widths[k + 1], first, last, back->c[k + 1], back->c[k]);
        for (int64_t i = first * VECTORS; i < last * VECTORS; i++)
            back->c[k][i] *= activation_slope((int)layer->activation, back->pre[k][i]);
    }
}

/* Points first .. last; returns 0, or 1 if there is no memory. u, g_u, a: (points, dims); g_l:
   (points); raw: (dims * params, points), sorted by position; c_raw: (params * dims, points), sorted
   by parameter; c_scale: (dims, points), of the affine law's log-scales; pres, c_pres: (units,
   points) for each hidden layer. */
int flowkit_pullback(const Layer *layer, int64_t points, int64_t first, int64_t last, const REAL *u,
                     const REAL *raw, const REAL *const *pres, const REAL *g_u, const REAL *g_l,
                     REAL *a, REAL *c_raw, REAL *c_scale, REAL *const *c_pres) {
    int64_t D = layer->dims, P = layer->params, K = layer->hidden, rows = D * (4 + 2 * P) + 1;
    for (int64_t k = 0; k < K; k++) rows += 2 * layer->widths[k];
    char *memory = aligned_alloc(64, (size_t)rows * TILE_BYTES);
    vec **tables = malloc((size_t)(2 * K + 1) * sizeof(vec *));
    if (!memory || !tables) {
        free(memory);
        free(tables);
        return 1;
    }
    char *next = memory;
    Back back = {.u = take(&next, D), .raw = take(&next, D * P), .g_u = take(&next, D),
                 .g_l = take(&next, 1), .a = take(&next, D), .c_raw = take(&next, D * P),
                 .c_scale = take(&next, D), .pre = tables, .c = tables + K};
    for (int64_t k = 0; k < 2 * K; k++) tables[k] = take(&next, layer->widths[k % K]);
    for (int64_t p = first; p < last; p += TILE) {
        int64_t count = last - p < TILE ? last - p : TILE;
        copy_in(back.u, u + p * D, D, count);
        copy_in(back.g_u, g_u + p * D, D, count);
        copy_in(back.g_l, g_l + p, 1, count);
        rows_in(back.raw, raw + p, D * P, count, points);
        for (int64_t k = 0; k < K; k++)
            rows_in(back.pre[k], pres[k] + p, layer->widths[k], count, points);
        for (int64_t step = layer->steps - 1; step >= 0; step--) step_back(layer, step, &back);
        copy_out(a + p * D, back.a, D, count);
        rows_out(c_raw + p, back.c_raw, D * P, count, points);
        if (layer->affine) rows_out(c_scale + p, back.c_scale, D, count, points);
        for (int64_t k = 0; k < K; k++)
            rows_out(c_pres[k] + p, back.c[k], layer->widths[k], count, points);
    }
    free(memory);
    free(tables);
    return 0;
}
