/* One autoregressive layer with an affine or additive law, and what can be done with it.

   Everything is compiled once with -DREAL=float and once with -DREAL=double (-DIS_DOUBLE=1). */

#include <stdint.h>

/* A layer's architecture and weights; arrays are dense, rows first. */
typedef struct {
    int64_t dims, params, hidden, activation, affine, inverted, steps;
    int64_t by_feature;       /* values of points are (rows, points), else (points, rows) */
    const int64_t *widths;    /* units of each hidden layer */
    const int64_t *positions; /* steps + 1: first position of each step */
    const int64_t *units;     /* for each hidden layer steps + 1: units known before each step */
    const REAL *const *weights, *const *biases; /* the output layer's last */
    const REAL *context;      /* values: what the context adds to the first layer, or null */
    const REAL *free;         /* the bias of each log-scale, or null */
    REAL bound;
} Layer;

/* Points first .. last of v; returns 0, or 1 if there is no memory. Arrays that are null are not
   wanted. v, u: values, of dims rows; log_det: (points); raw: (dims * params, points), sorted by
   position; pres: (units, points) for each hidden layer. */
int flowkit_sweep(const Layer *layer, int64_t points, int64_t first, int64_t last, const REAL *v,
                  REAL *u, REAL *log_det, REAL *raw, REAL *const *pres);

/* Points first .. last; returns 0, or 1 if there is no memory. Cotangents that are null are zero,
   results that are null are not wanted. u, g_u, a: values, of dims rows; g_l: (points); raw, g_raw:
   (dims * params, points), sorted by position; c_raw: the same, sorted by position where values are
   by feature, else by parameter; c_scale: (dims, points), of the affine law's log-scales; pres,
   g_pres, c_pres: (units, points) for each hidden layer. */
int flowkit_pullback(const Layer *layer, int64_t points, int64_t first, int64_t last, const REAL *u,
                     const REAL *raw, const REAL *const *pres, const REAL *g_u, const REAL *g_l,
                     const REAL *g_raw, const REAL *const *g_pres, REAL *a, REAL *c_raw,
                     REAL *c_scale, REAL *const *c_pres);
