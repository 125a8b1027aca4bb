/* The sweep and its way back as custom calls of XLA, by the C interface of its foreign functions.

   Attributes: `plan`, the integers of a Layer and its tables, see plan.py; `bound`, a double.
   Operands: those below, then weights and biases (hidden layers first), what the
   context adds if there is one, the bias of each log-scale if the law is affine. Values are by
   feature.

   flowkit_xla_sweep: v -> u, log_det, raw, pres.
   flowkit_xla_pullback: u, raw, pres, g_u, g_l, g_raw, g_pres -> a, c_raw, c_pres; or, where only a
   is wanted: u, raw, pres, g_u, g_l -> a. */

#include "layer.h"

#include <stdlib.h>
#include <string.h>

#include "xla/ffi/api/c_api.h"

enum { HEADER = 8 }; /* integers of the plan before its tables */

static XLA_FFI_Error *failure(const XLA_FFI_CallFrame *call, const char *message,
                              XLA_FFI_Error_Code code) {
    XLA_FFI_Error_Create_Args args = {.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE,
                                      .message = message, .errc = code};
    return call->api->XLA_FFI_Error_Create(&args);
}

/* XLA asks which version of the interface a handler speaks before it calls it. */
static int asks_version(const XLA_FFI_CallFrame *call) {
    XLA_FFI_Extension_Base *extension = call->extension_start;
    if (!extension || extension->type != XLA_FFI_Extension_Metadata) return 0;
    XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)extension)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    metadata->traits = 0;
    return 1;
}

static const void *attribute(const XLA_FFI_CallFrame *call, const char *name) {
    for (int64_t i = 0; i < call->attrs.size; i++) {
        const XLA_FFI_ByteSpan *found = call->attrs.names[i];
        if (found->len == strlen(name) && !memcmp(found->ptr, name, found->len))
            return call->attrs.attrs[i];
    }
    return 0;
}

static REAL *operand(const XLA_FFI_CallFrame *call, int64_t index) {
    return ((XLA_FFI_Buffer *)call->args.args[index])->data;
}

static REAL *result(const XLA_FFI_CallFrame *call, int64_t index) {
    return ((XLA_FFI_Buffer *)call->rets.rets[index])->data;
}

/* The layer, whose weights begin at operand `first`; `tables` has room for 2 * (hidden + 1). */
static Layer layer_of(const XLA_FFI_CallFrame *call, const int64_t *plan, int64_t first,
                      const REAL **tables) {
    Layer layer = {.dims = plan[0], .params = plan[1], .hidden = plan[2], .activation = plan[3],
                   .affine = plan[4], .inverted = plan[5], .steps = plan[7], .by_feature = 1};
    int64_t count = layer.hidden + 1;
    for (int64_t i = 0; i < 2 * count; i++) tables[i] = operand(call, first + i);
    layer.widths = plan + HEADER;
    layer.positions = layer.widths + layer.hidden;
    layer.units = layer.positions + layer.steps + 1;
    layer.weights = tables;
    layer.biases = tables + count;
    first += 2 * count;
    if (plan[6]) layer.context = operand(call, first++);
    if (layer.affine) layer.free = operand(call, first);
    layer.bound = (REAL) * (const double *)((const XLA_FFI_Scalar *)attribute(call, "bound"))->value;
    return layer;
}

static XLA_FFI_Error *run(XLA_FFI_CallFrame *call, int back) {
    if (asks_version(call)) return 0;
    const XLA_FFI_Array *attr = attribute(call, "plan");
    if (!attr || !attribute(call, "bound"))
        return failure(call, "flowkit: no plan", XLA_FFI_Error_Code_INVALID_ARGUMENT);
    const int64_t *plan = attr->data;
    int whole = call->rets.size > 1;
    int64_t K = plan[2], values = back ? 4 + K + (whole ? 1 + K : 0) : 1;
    const XLA_FFI_Buffer *u = call->args.args[0];
    int64_t points = u->dims[1];
    const REAL **tables = malloc((size_t)(2 * (K + 1) + 3 * K + 1) * sizeof(REAL *));
    if (!tables) return failure(call, "flowkit: no memory", XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
    Layer layer = layer_of(call, plan, values, tables);
    const REAL **pres = tables + 2 * (K + 1), **g_pres = pres + K;
    REAL **found = (REAL **)(g_pres + K);
    int failed;
    for (int64_t k = 0; whole && k < K; k++) {
        found[k] = result(call, (back ? 2 : 3) + k);
        if (back) g_pres[k] = operand(call, 5 + K + k);
    }
    if (back) {
        for (int64_t k = 0; k < K; k++) pres[k] = operand(call, 2 + k);
        failed = flowkit_pullback(&layer, points, 0, points, u->data, operand(call, 1), pres,
                                  operand(call, 2 + K), operand(call, 3 + K),
                                  whole ? operand(call, 4 + K) : 0, whole ? g_pres : 0,
                                  result(call, 0), whole ? result(call, 1) : 0, 0,
                                  whole ? found : 0);
    } else {
        failed = flowkit_sweep(&layer, points, 0, points, u->data, result(call, 0),
                               result(call, 1), result(call, 2), found);
    }
    free(tables);
    return failed ? failure(call, "flowkit: no memory for tiles of points",
                            XLA_FFI_Error_Code_RESOURCE_EXHAUSTED)
                  : 0;
}

XLA_FFI_Error *flowkit_xla_sweep(XLA_FFI_CallFrame *call) { return run(call, 0); }

XLA_FFI_Error *flowkit_xla_pullback(XLA_FFI_CallFrame *call) { return run(call, 1); }

/* Results are the operands. What needs one of them waits for all, which XLA would not see to. */
XLA_FFI_Error *flowkit_xla_tie(XLA_FFI_CallFrame *call) {
    if (asks_version(call)) return 0;
    for (int64_t i = 0; i < call->args.size; i++) {
        const XLA_FFI_Buffer *from = call->args.args[i], *to = call->rets.rets[i];
        int64_t size = sizeof(REAL);
        for (int64_t axis = 0; axis < from->rank; axis++) size *= from->dims[axis];
        if (to->data != from->data) memcpy(to->data, from->data, (size_t)size);
    }
    return 0;
}
