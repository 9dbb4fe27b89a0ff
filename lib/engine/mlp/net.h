/* net.h: inside the mlp engine: a network of layers, its passes, its gradient on a minibatch, and the optimiser's step.
 *
 * All trained values lie in one float array: a layer with weights has a matrix (rows, cols) in packed panels of 16 columns (math/dense.h) at w_at and
 * cols biases, padded to 16, at b_at. The padding is zero and stays zero: its gradient is. A dense layer's rows are its inputs, a convolution's are
 * (kernel row, kernel column, channel); batch normalisation has one row (its scales; biases are its shifts) and keeps running means and
 * variances behind all trained values. Tests use this header to check gradients by finite differences. */
#ifndef MMQ_ENGINE_MLP_NET_H
#define MMQ_ENGINE_MLP_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/part.h"
#include "engine/engine.h"
#include "math/dense.h"

enum { MMQ_MLP_LAYERS_MAX = 66, MMQ_MLP_RANK = 3 };
enum mmq_mlp_activation { MMQ_MLP_IDENTITY, MMQ_MLP_LOGISTIC, MMQ_MLP_TANH, MMQ_MLP_RELU, MMQ_MLP_SOFTMAX, MMQ_MLP_LEAKY_RELU, MMQ_MLP_GELU,
	MMQ_MLP_SILU, MMQ_MLP_ACTIVATIONS };
enum mmq_mlp_loss { MMQ_MLP_MSE, MMQ_MLP_CROSS_ENTROPY, MMQ_MLP_MAE, MMQ_MLP_HUBER, MMQ_MLP_LOSSES };
enum mmq_mlp_kind { MMQ_MLP_DENSE, MMQ_MLP_CONV, MMQ_MLP_MAX_POOL, MMQ_MLP_AVERAGE_POOL, MMQ_MLP_FLATTEN, MMQ_MLP_DROPOUT, MMQ_MLP_BATCH_NORM,
	MMQ_MLP_EMBEDDING,                         /* not in texts: category columns bring it */
	MMQ_MLP_KINDS };

struct mmq_mlp_layer {
	enum mmq_mlp_kind kind;
	enum mmq_mlp_activation activation;
	size_t in[MMQ_MLP_RANK], out[MMQ_MLP_RANK]; /* height, width, channels; flat: 1, 1, count */
	size_t in_count, out_count;
	size_t kernel[2], stride[2], pad[2];        /* pad: rows above, columns to the left; as much or one more behind */
	double rate;                                /* dropout's share */
	size_t rows, cols;                          /* of the weights; 0: none */
	size_t w_at, b_at, stats_at;                /* in params */
	size_t back_at;                             /* in back; a dense layer's transpose, a convolution's turned kernels */
};

/* Of one category column. */
struct mmq_mlp_table { uint32_t cardinality, width; size_t at; };   /* at: in the weights of the embedding layer */

struct mmq_mlp_net {
	struct mmq_mlp_layer layer[MMQ_MLP_LAYERS_MAX];
	size_t layers, input[MMQ_MLP_RANK];
	struct mmq_mlp_table *tables;               /* (tables_count) of the embedding layer, which is the first; NULL: none */
	size_t tables_count;
	size_t trained_count, params_count, back_count, pad_count;  /* pad_count: floats of a padded image, scratch of convolutions */
	enum mmq_mlp_activation output;             /* of the last layer's values, which come without it */
	enum mmq_mlp_loss loss;
	double smoothing, huber;
	float *params;                              /* (params_count), 64-byte aligned */
	float *back;                                /* (back_count), made from params by mmq_mlp_refresh; NULL: no backward pass */
};

/* What a layer has besides its weights (rows, cols): a bias, or shift, for each column, but for an embedding. */
static inline size_t
mmq_mlp_biases(const struct mmq_mlp_layer *layer)
{
	return layer->rows > 0 && layer->kind != MMQ_MLP_EMBEDDING ? layer->cols : 0;
}

/* layers.c */
/* Append what the text says, e.g. "conv 8 3x3 relu, pool 2, flatten, dense 128 relu". Errors name the layer. */
int mmq_mlp_layers_parse(struct mmq_mlp_net *net, const char *text, struct mmq_err *err);
bool mmq_mlp_layers_add_dense(struct mmq_mlp_net *net, size_t units, enum mmq_mlp_activation activation);  /* false: too many layers */
/* Infer every shape from net->input and lay out params. params and back stay as they are. */
int mmq_mlp_shape(struct mmq_mlp_net *net, struct mmq_err *err);
void mmq_mlp_layer_print(const struct mmq_mlp_layer *layer, char *out, size_t size);    /* as the text form, e.g. "conv 8 3x3 relu" */
double mmq_mlp_layer_flops(const struct mmq_mlp_layer *layer);                          /* of one row's forward pass */
int mmq_mlp_activation_find(const char *name, size_t length);                           /* -1: unknown */
const char *mmq_mlp_activation_name(enum mmq_mlp_activation activation);

/* Rows by index: how a pass gets at its data. */
struct mmq_mlp_rows {
	const struct mmq_dataset *data;
	const uint32_t *index;   /* NULL: row i is i */
	const float *weight;     /* by data row, mean 1; NULL: all 1 */
};

/* What a pass through one layer needs besides its values. */
struct mmq_mlp_pass {
	bool is_training;        /* dropout drops, batch normalisation uses and follows the rows' own statistics */
	uint64_t seed, step, first;      /* dropout's mask depends on these and the unit: first is the tile's first row in the minibatch */
	float *pad;              /* (net->pad_count) */
	double *moments;         /* batch normalisation in training: mean and 1/deviation of each channel (2, channels) */
};

/* layer_dense.c: dense and convolution. d is the gradient by the layer's sums (before its activation). */
void mmq_mlp_dense_forward(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, const float *x, size_t x_stride, size_t rows, float *y,
    const struct mmq_mlp_pass *pass);
void mmq_mlp_dense_backward(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, const float *d, size_t rows, float *dx,
    const struct mmq_mlp_pass *pass);
/* gradient (packed rows then biases, as from w_at) = or += this tile's. Columns [from, to) of panels. Biases' sums are always added. */
void mmq_mlp_dense_gradient(const struct mmq_mlp_layer *layer, const float *x, size_t x_stride, const float *d, size_t rows, float *gradient, size_t from,
    size_t to, bool add, const struct mmq_mlp_pass *pass);
/* Remake columns [from, to) of back from params. */
void mmq_mlp_refresh(const struct mmq_mlp_net *net, const struct mmq_mlp_layer *layer, size_t from, size_t to);
void mmq_mlp_refresh_all(const struct mmq_mlp_net *net);
/* layer_plain.c: pools, dropout, batch normalisation. */
void mmq_mlp_plain_forward(const struct mmq_mlp_net *net, size_t k, const float *x, size_t x_stride, size_t rows, float *y, const struct mmq_mlp_pass *pass);
/* d (rows, out): gradient by y; dx NULL: not wanted. gradient: of scales and shifts (batch normalisation), as from w_at, written. */
void mmq_mlp_plain_backward(const struct mmq_mlp_net *net, size_t k, const float *x, const float *y, const float *d, size_t rows, float *dx, float *gradient,
    const struct mmq_mlp_pass *pass);

/* layer_embed.c */
/* Put an embedding of count category columns before all layers. false: too many layers. */
bool mmq_mlp_embed_add(struct mmq_mlp_net *net, const uint32_t *cardinality, const uint32_t *width, size_t count);
bool mmq_mlp_embeds(const struct mmq_mlp_net *net);
void mmq_mlp_embed_init(struct mmq_mlp_net *net, uint64_t seed);
/* Numbers and codes of rows [first, first + count) -> out (count, out). gradient (as from w_at) += that of the tables, from d (count, out). */
void mmq_mlp_embed_forward(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t first, size_t count, float *out);
void mmq_mlp_embed_gradient(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t first, size_t count, const float *d, float *gradient);

/* act.c: values (rows, width) in place. Softmax goes by rows of width. z: what derive needs of gelu, silu. */
void mmq_mlp_activate(float *z, size_t rows, size_t width, enum mmq_mlp_activation activation);
/* delta *= f'(z), written in terms of a = f(z), or of z for those that keep it. */
void mmq_mlp_derive(float *delta, const float *a, const float *z, size_t rows, size_t width, enum mmq_mlp_activation activation);
bool mmq_mlp_keeps_z(enum mmq_mlp_activation activation);
/* y += scale * x */
void mmq_mlp_add_scaled(float *y, const float *x, float scale, size_t count);

/* loss.c: z (count, width) of the last layer -> weighted loss sum; delta_out (count, width) gets its derivative by z. */
double mmq_mlp_loss(const struct mmq_mlp_net *net, const float *z, const struct mmq_mlp_rows *rows, size_t first, size_t count,
    float *delta_out, double *weight_sum_out);

/* step.c */
struct mmq_mlp_step {
	bool is_adam, nesterov, is_decoupled;       /* decoupled: AdamW */
	double rate;                     /* this step's learning rate; for Adam with bias correction */
	double momentum, beta_1, beta_2, epsilon;
	double scale;                    /* gradient = scale * sum + decay * w */
	double decay;                    /* for weights, not biases; decoupled: w loses this share of itself instead */
};
/* params, first and second moments (count) from the gradient sum. second is unused by SGD. Same bits on every path. */
void mmq_mlp_update(const struct mmq_mlp_step *step, float *params, float *first, float *second, const float *gradient, size_t count,
    bool is_decayed);

/* room.c, room_pass.c: the memory and the passes of a minibatch. */
struct mmq_mlp_room;
/* rows_max: most rows of a minibatch. NULL: no memory. */
struct mmq_mlp_room *mmq_mlp_room_new(const struct mmq_mlp_net *net, size_t rows_max, bool is_sparse, struct mmq_pool *pool);
void mmq_mlp_room_destroy(struct mmq_mlp_room **room);
double mmq_mlp_room_bytes(const struct mmq_mlp_net *net, size_t rows_max, unsigned threads);
/* Weighted loss sum (without L2) of rows [first, first + count). weight_sum_out += their weights. Without training. */
double mmq_mlp_room_loss(struct mmq_mlp_room *room, const struct mmq_mlp_rows *rows, size_t first, size_t count, double *weight_sum_out);
/* One pass forward and back over rows [first, first + count <= rows_max): gradient (trained_count) = the loss sum's. Then, when step_with is not NULL,
 * it is called for each piece of params, from several threads at once: step_with(arg, at, count, is_weight). */
double mmq_mlp_room_gradient(struct mmq_mlp_room *room, const struct mmq_mlp_rows *rows, size_t first, size_t count, uint64_t seed, uint64_t step,
    float *gradient, void (*step_with)(void *arg, size_t at, size_t count, bool is_weight), void *arg, double *weight_sum_out);
/* Sparse rows [first, first + count) through the first layer, which is dense: its sums with biases, or values if its activation is relu. */
void mmq_mlp_sparse_forward(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t first, size_t count, float *out);
/* For pieces in order, when the gradient's norm had to be known first. */
void mmq_mlp_room_step(struct mmq_mlp_room *room, void (*step_with)(void *arg, size_t at, size_t count, bool is_weight), void *arg);

/* train.c */
struct mmq_mlp_report {
	int64_t epochs, steps;
	double loss, valid_loss;         /* NaN: none */
	bool converged;
	const char *warning;             /* constant text or NULL */
};
/* small.c: the whole batch of a very small network at once. fits: whether it can; rows are copied at new. */
struct mmq_mlp_small;
bool mmq_mlp_small_fits(const struct mmq_mlp_net *net, const struct mmq_dataset *data, size_t rows, size_t batch_rows, bool has_weights);
struct mmq_mlp_small *mmq_mlp_small_new(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t count);
void mmq_mlp_small_destroy(struct mmq_mlp_small **small);
double mmq_mlp_small_gradient(struct mmq_mlp_small *small, float *gradient);   /* as mmq_mlp_room_gradient over all rows */

/* init.c: first weights. init: auto, uniform, normal, he. */
void mmq_mlp_init(struct mmq_mlp_net *net, const char *init, uint64_t seed);

/* Between two epochs: all that the rest of a fit depends on. */
struct mmq_mlp_loop {
	int64_t epochs, steps, stale;
	double best, best_valid, learning_rate, loss, valid_loss;
	uint64_t rng, fingerprint;       /* of the data and the network */
	size_t params_count, rows;
	float *params, *first, *second, *best_params;   /* (params_count) */
	uint32_t *index;                 /* (rows) */
};
/* checkpoint.c */
uint64_t mmq_mlp_fingerprint(const struct mmq_fit *fit, const struct mmq_mlp_net *net);   /* net with the weights that a fit starts from */
void mmq_mlp_loop_put(const struct mmq_mlp_loop *loop, struct mmq_part *out);
bool mmq_mlp_loop_get(struct mmq_mlp_loop *loop, const struct mmq_part *in);   /* false: not of this fit; loop is as before */

/* From the weights in net->params, which are the best found afterwards. */
int mmq_mlp_train(struct mmq_mlp_net *net, const struct mmq_fit *fit, struct mmq_mlp_report *report, struct mmq_err *err);
double mmq_mlp_train_bytes(const struct mmq_mlp_net *net, const struct mmq_fit *fit);

#endif
