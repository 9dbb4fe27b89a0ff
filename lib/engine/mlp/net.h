/* net.h: inside the mlp engine: the network, its gradient on a tile of rows, and the optimiser's step.
 *
 * All weights and biases lie in one float array: layer k has w (widths[k], widths[k + 1]) row-major at w_at[k], then
 * bias (widths[k + 1]) at b_at[k]. Tests use this header to check gradients by finite differences. */
#ifndef MMQ_ENGINE_MLP_NET_H
#define MMQ_ENGINE_MLP_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/part.h"
#include "engine/engine.h"

enum { MMQ_MLP_LAYERS_MAX = 65, MMQ_MLP_TILE = 256 };
enum mmq_mlp_activation { MMQ_MLP_IDENTITY, MMQ_MLP_LOGISTIC, MMQ_MLP_TANH, MMQ_MLP_RELU, MMQ_MLP_SOFTMAX };
enum mmq_mlp_loss { MMQ_MLP_MSE, MMQ_MLP_CROSS_ENTROPY };

struct mmq_mlp_net {
	size_t layers, widths[MMQ_MLP_LAYERS_MAX + 1], width_max;
	size_t w_at[MMQ_MLP_LAYERS_MAX], b_at[MMQ_MLP_LAYERS_MAX], params_count;
	enum mmq_mlp_activation hidden, output;
	enum mmq_mlp_loss loss;
	float *params;           /* (params_count), 64-byte aligned */
};

/* Rows by index: how a tile gets at its data. */
struct mmq_mlp_rows {
	const struct mmq_dataset *data;
	const uint32_t *index;   /* NULL: row i is i */
	const float *weight;     /* by data row, mean 1; NULL: all 1 */
};

/* Scratch of one worker for up to MMQ_MLP_TILE rows. */
struct mmq_mlp_work {
	float *act[MMQ_MLP_LAYERS_MAX + 1];  /* (tile, widths[k]); act[0]: gathered inputs, unused for sparse rows */
	float *delta[2];                     /* (tile, width_max) */
	float *memory;
};

/* Fill offsets from layers and widths. -1 when the parameters cannot be counted. params stays NULL. */
int mmq_mlp_shape(struct mmq_mlp_net *net, struct mmq_err *err);
bool mmq_mlp_work_new(struct mmq_mlp_work *work, const struct mmq_mlp_net *net, bool is_sparse);   /* false: no memory */
void mmq_mlp_work_fini(struct mmq_mlp_work *work);

/* Weighted loss sum (without L2) of rows [first, first + count), count <= MMQ_MLP_TILE; weight_sum_out += their weights. With gradient
 * (params_count) != NULL the gradient of that sum is added to it. */
double mmq_mlp_tile(const struct mmq_mlp_net *net, const struct mmq_mlp_rows *rows, size_t first, size_t count, struct mmq_mlp_work *work,
    float *gradient, double *weight_sum_out);

/* act.c: z (rows, width) += bias, then the activation in place. bias may be NULL. Softmax is left to the loss. */
void mmq_mlp_activate(float *z, size_t rows, size_t width, const float *bias, enum mmq_mlp_activation activation);
/* delta *= f'(z), written in terms of a = f(z). */
void mmq_mlp_derive(float *delta, const float *a, size_t count, enum mmq_mlp_activation activation);
/* sums (width) += column sums of delta (rows, width). */
void mmq_mlp_add_columns(float *sums, const float *delta, size_t rows, size_t width);
/* y += scale * x */
void mmq_mlp_add_scaled(float *y, const float *x, float scale, size_t count);

/* loss.c: z (rows, width) of the output layer before its activation -> weighted loss sum; delta_out (rows, width) gets its
 * derivative by z. */
double mmq_mlp_loss(const struct mmq_mlp_net *net, const float *z, const struct mmq_mlp_rows *rows, size_t first, size_t count,
    float *delta_out, double *weight_sum_out);

/* step.c */
struct mmq_mlp_step {
	bool is_adam, nesterov;
	double rate;                     /* this step's learning rate; for Adam with bias correction */
	double momentum, beta_1, beta_2, epsilon;
	double scale;                    /* gradient = scale * sum + decay * w */
	double decay;                    /* for weights, not biases */
};
/* params, first and second moments (count) from the gradient sum. second is unused by SGD. Same bits on every path. */
void mmq_mlp_update(const struct mmq_mlp_step *step, float *params, float *first, float *second, const float *gradient, size_t count,
    bool is_decayed);

/* train.c */
struct mmq_mlp_report {
	int64_t epochs, steps;
	double loss, valid_loss;         /* NaN: none */
	bool converged;
	const char *warning;             /* constant text or NULL */
};
int mmq_mlp_train(struct mmq_mlp_net *net, const struct mmq_fit *fit, struct mmq_mlp_report *report, struct mmq_err *err);
size_t mmq_mlp_train_bytes(const struct mmq_mlp_net *net, const struct mmq_fit *fit);

#endif
