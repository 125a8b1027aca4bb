/* The degree-sorted sweep of one autoregressive layer with an affine or additive law, on a CPU.

   Units are sorted by degree: what a step may see is a prefix, and no mask is needed. */

#include "tile.h"

/* Rows of one linear layer: row i of the weights goes to row targets[i] of the tile. */
static void linear(const Layer *layer, int64_t index, int64_t inputs, int64_t known, int64_t count,
                   const int64_t *sources, const int64_t *targets, const vec *in,
                   const vec *context, vec *out) {
    const REAL *rows[CHUNK];
    vec *results[CHUNK];
    for (int64_t i = 0; i < count; i++) {
        rows[i] = layer->weights[index] + sources[i] * inputs;
        results[i] = out + targets[i] * VECTORS;
        for (int j = 0; j < VECTORS; j++) {
            results[i][j] = all(layer->biases[index][sources[i]]);
            if (context) results[i][j] += context[sources[i] * VECTORS + j];
        }
    }
    product(count, rows, 1, known, in, results);
}

typedef struct {
    vec *v, *u, *log_slope, *raw, *context;
    vec **pre, **post;
} Tile;

/* The units of a hidden layer that have just become computable. */
static void hidden_rows(const Layer *layer, int64_t index, int64_t step, const Tile *tile) {
    const int64_t *known = layer->units + index * (layer->steps + 1);
    const vec *in = index ? tile->post[index - 1] : tile->u;
    int64_t inputs = index ? layer->widths[index - 1] : layer->dims;
    int64_t seen = index ? layer->units[(index - 1) * (layer->steps + 1) + step + 1]
                         : layer->positions[step];
    int64_t rows[CHUNK];
    for (int64_t first = known[step]; first < known[step + 1]; first += CHUNK) {
        int64_t count = known[step + 1] - first < CHUNK ? known[step + 1] - first : CHUNK;
        for (int64_t i = 0; i < count; i++) rows[i] = first + i;
        linear(layer, index, inputs, seen, count, rows, rows, in, index ? 0 : tile->context,
               tile->pre[index]);
    }
    for (int64_t i = known[step] * VECTORS; i < known[step + 1] * VECTORS; i++)
        tile->post[index][i] = activate((int)layer->activation, tile->pre[index][i]);
}

/* The raw parameters of a position, then the coordinate itself. */
static void position(const Layer *layer, int64_t step, int64_t j, const Tile *tile) {
    int64_t last = layer->hidden - 1;
    const vec *in = last < 0 ? tile->u : tile->post[last];
    int64_t inputs = last < 0 ? layer->dims : layer->widths[last];
    int64_t seen = last < 0 ? layer->positions[step]
                            : layer->units[last * (layer->steps + 1) + step + 1];
    int64_t sources[2] = {j, layer->dims + j}, targets[2] = {j * layer->params, j * layer->params + 1};
    linear(layer, layer->hidden, inputs, seen, layer->params, sources, targets, in,
           last < 0 ? tile->context : 0, tile->raw);
    for (int i = 0; i < VECTORS; i++) {
        vec v = tile->v[j * VECTORS + i], shift = tile->raw[targets[0] * VECTORS + i];
        vec *u = tile->u + j * VECTORS + i, *slope = tile->log_slope + j * VECTORS + i;
        if (!layer->affine) {
            *slope = all(0);
            *u = layer->inverted ? v + shift : v - shift;
            continue;
        }
        /* s = b + c tanh(h / c), as the affine law says. */
        vec gate = sigmoid(tile->raw[targets[1] * VECTORS + i] * (2 / layer->bound));
        vec s = (layer->free[j] - layer->bound) + 2 * layer->bound * gate;
        *slope = layer->inverted ? s : -s;
        *u = layer->inverted ? v * vexp(s) + shift : (v - shift) * vexp(-s);
    }
}

int flowkit_sweep(const Layer *layer, int64_t points, int64_t first, int64_t last, const REAL *v,
                  REAL *u, REAL *log_det, REAL *raw, REAL *const *pres) {
    int64_t D = layer->dims, K = layer->hidden, contexts = 0, rows = D * (3 + layer->params);
    for (int64_t k = 0; k < K; k++) rows += 2 * layer->widths[k];
    if (layer->context) contexts = K ? layer->widths[0] : D * layer->params;
    char *memory = aligned_alloc(64, (size_t)(rows + contexts) * TILE_BYTES);
    vec **tables = malloc((size_t)(2 * K + 1) * sizeof(vec *));
    if (!memory || !tables) {
        free(memory);
        free(tables);
        return 1;
    }
    char *next = memory;
    Tile tile = {.v = take(&next, D), .u = take(&next, D), .log_slope = take(&next, D),
                 .raw = take(&next, D * layer->params), .context = take(&next, contexts),
                 .pre = tables, .post = tables + K};
    for (int64_t k = 0; k < 2 * K; k++) tables[k] = take(&next, layer->widths[k % K]);
    if (!contexts) tile.context = 0;
    for (int64_t p = first; p < last; p += TILE) {
        int64_t count = last - p < TILE ? last - p : TILE;
        values_in(layer, tile.v, v, D, p, count, points);
        if (contexts) values_in(layer, tile.context, layer->context, contexts, p, count, points);
        for (int64_t step = 0; step < layer->steps; step++) {
            for (int64_t k = 0; k < K; k++) hidden_rows(layer, k, step, &tile);
            for (int64_t j = layer->positions[step]; j < layer->positions[step + 1]; j++)
                position(layer, step, j, &tile);
        }
        vec sum[VECTORS];
        memset(sum, 0, sizeof sum);
        for (int64_t i = 0; i < D * VECTORS; i++) sum[i % VECTORS] += tile.log_slope[i];
        memcpy(log_det + p, sum, (size_t)count * sizeof(REAL));
        values_out(layer, u, tile.u, D, p, count, points);
        if (raw) rows_out(raw + p, tile.raw, D * layer->params, count, points);
        for (int64_t k = 0; pres && k < K; k++)
            rows_out(pres[k] + p, tile.pre[k], layer->widths[k], count, points);
    }
    free(memory);
    free(tables);
    return 0;
}
