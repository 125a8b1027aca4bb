/* Tiles of points, and what both directions do to them.

   Points are taken in tiles that stay in the cache while all their coordinates are found, one after
   the other. In a tile rows are features and columns are points, so a product is a sum of scaled
   rows. */

#include "layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A row of a tile is four vectors: with the rows of one product that fills the registers. */
#ifdef __AVX512F__
#define VECTOR_BYTES 64
#define ROWS_AT_ONCE 4
#else
#define VECTOR_BYTES 32
#define ROWS_AT_ONCE 3
#endif
#define VECTORS 4
#define TILE_BYTES (VECTORS * VECTOR_BYTES)
#define TILE ((int64_t)(TILE_BYTES / sizeof(REAL))) /* points */

typedef REAL vec __attribute__((vector_size(VECTOR_BYTES)));
#if IS_DOUBLE
typedef int64_t ints __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES)));
#endif

static inline vec all(REAL value) { return (vec){0} + value; }

static inline vec choose(ints where, vec yes, vec no) {
    return (vec)((where & (ints)yes) | (~where & (ints)no));
}

/* exp by a polynomial on +-log(2)/2 and a shift of the exponent (Cody and Waite 1980, chapter 6);
   exactly 1 at 0, NaN stays NaN. */
static inline vec vexp(vec x) {
#if IS_DOUBLE
    const REAL low = -708.0, high = 709.0, ln2_high = 6.93145751953125e-1,
               ln2_low = 1.42860682030941723212e-6, round = 6755399441055744.0;
    const int bits = 52, bias = 1023;
    static const REAL terms[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120,
                                 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0};
#else
    const REAL low = -87.0f, high = 88.0f, ln2_high = 0.693359375f,
               ln2_low = -2.12194440e-4f, round = 12582912.0f;
    const int bits = 23, bias = 127;
    static const REAL terms[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f,
                                 1.0f, 1.0f};
#endif
    vec bounded = choose(x < low, all(low), x);
    bounded = choose(bounded > high, all(high), bounded);
    vec shifted = bounded * (REAL)1.4426950408889634 + round;
    vec n = shifted - round;
    vec r = (bounded - n * ln2_high) - n * ln2_low;
    vec sum = all(terms[0]);
    for (unsigned i = 1; i < sizeof(terms) / sizeof(terms[0]); i++) sum = sum * r + terms[i];
    ints power = ((ints)shifted - (ints)all(round) + bias) << bits;
    vec result = sum * (vec)power;
    result = choose(x < low, all(0), result);
    result = choose(x > high, all((REAL)INFINITY), result);
    return choose(x == x, result, x);
}

static inline vec sigmoid(vec x) { return 1 / (1 + vexp(-x)); }

/* Vectors have no erf; gelu is the one activation that goes number by number. */
static inline vec normal_cdf(vec x) {
    for (unsigned i = 0; i < VECTOR_BYTES / sizeof(REAL); i++)
        x[i] = (REAL)(0.5 * (1 + erf((double)x[i] * 0.70710678118654752440)));
    return x;
}

enum { RELU, LEAKY_RELU, ELU, GELU, SILU, TANH };

static inline vec activate(int kind, vec x) {
    switch (kind) {
        case RELU: return choose(x < 0, all(0), x);
        case LEAKY_RELU: return choose(x < 0, x * (REAL)0.01, x);
        case ELU: return choose(x < 0, vexp(x) - 1, x);
        case GELU: return x * normal_cdf(x);
        case SILU: return x * sigmoid(x);
        default: return 2 * sigmoid(2 * x) - 1;
    }
}

static inline vec activation_slope(int kind, vec x) {
    vec gate;
    switch (kind) {
        case RELU: return choose(x > 0, all(1), x * 0);
        case LEAKY_RELU: return choose(x > 0, all(1), all((REAL)0.01) + x * 0);
        case ELU: return choose(x > 0, all(1), vexp(x));
        case GELU:
            return normal_cdf(x) + x * (REAL)0.39894228040143267794 * vexp(x * x * (REAL)-0.5);
        case SILU: gate = sigmoid(x); return gate * (1 + x * (1 - gate));
        default: gate = 2 * sigmoid(2 * x) - 1; return 1 - gate * gate;
    }
}

/* out_i += sum_k row_i[k * stride] in_k for COUNT rows at once. */
#define PRODUCT(COUNT)                                                                   \
    static inline void product_##COUNT(const REAL *const *rows, int64_t stride,          \
                                       int64_t length, const vec *in, vec *const *out) { \
        vec sum[COUNT][VECTORS];                                                         \
        for (int i = 0; i < COUNT; i++)                                                  \
            for (int j = 0; j < VECTORS; j++) sum[i][j] = out[i][j];                     \
        for (int64_t k = 0; k < length; k++)                                             \
            for (int i = 0; i < COUNT; i++)                                              \
                for (int j = 0; j < VECTORS; j++)                                        \
                    sum[i][j] += rows[i][k * stride] * in[k * VECTORS + j];              \
        for (int i = 0; i < COUNT; i++)                                                  \
            for (int j = 0; j < VECTORS; j++) out[i][j] = sum[i][j];                     \
    }
PRODUCT(1)
PRODUCT(2)
PRODUCT(3)
PRODUCT(4)

static void product(int64_t count, const REAL *const *rows, int64_t stride, int64_t length,
                    const vec *in, vec *const *out) {
    while (count > 0) {
        int64_t now = count < ROWS_AT_ONCE ? count : ROWS_AT_ONCE;
        switch (now) {
            case 1: product_1(rows, stride, length, in, out); break;
            case 2: product_2(rows, stride, length, in, out); break;
            case 3: product_3(rows, stride, length, in, out); break;
            default: product_4(rows, stride, length, in, out);
        }
        count -= now;
        rows += now;
        out += now;
    }
}

/* Rows that are handed to a product together. */
enum { CHUNK = 64 };

static void rows_in(vec *tile, const REAL *values, int64_t rows, int64_t points, int64_t stride) {
    if (points < TILE) /* columns beyond the points: any finite number */
        memset(tile, 0, (size_t)(rows * TILE_BYTES));
    for (int64_t r = 0; r < rows; r++)
        memcpy(tile + r * VECTORS, values + r * stride, (size_t)points * sizeof(REAL));
}

static void rows_out(REAL *values, const vec *tile, int64_t rows, int64_t points, int64_t stride) {
    for (int64_t r = 0; r < rows; r++)
        memcpy(values + r * stride, tile + r * VECTORS, (size_t)points * sizeof(REAL));
}

/* Values of points: the tile of `count` points from point p of all `points`. */
static void values_in(const Layer *layer, vec *tile, const REAL *values, int64_t rows, int64_t p,
                      int64_t count, int64_t points) {
    REAL *flat = (REAL *)tile;
    if (layer->by_feature) {
        rows_in(tile, values + p, rows, count, points);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t t = 0; t < TILE; t++) /* a short tile repeats its last point */
            flat[r * TILE + t] = values[(p + (t < count ? t : count - 1)) * rows + r];
}

static void values_out(const Layer *layer, REAL *values, const vec *tile, int64_t rows, int64_t p,
                       int64_t count, int64_t points) {
    const REAL *flat = (const REAL *)tile;
    if (layer->by_feature) {
        rows_out(values + p, tile, rows, count, points);
        return;
    }
    for (int64_t t = 0; t < count; t++)
        for (int64_t r = 0; r < rows; r++) values[(p + t) * rows + r] = flat[r * TILE + t];
}

static vec *take(char **memory, int64_t rows) {
    vec *taken = (vec *)*memory;
    *memory += (size_t)rows * TILE_BYTES;
    return taken;
}
