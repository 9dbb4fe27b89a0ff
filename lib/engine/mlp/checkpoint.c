/* checkpoint.c: the state of a fit between two epochs as a part, so that a killed job goes on and ends with the same bits. */
#include <string.h>

#include "engine/mlp/net.h"
#include "math/rng.h"

uint64_t
mmq_mlp_fingerprint(const struct mmq_fit *fit, const struct mmq_mlp_net *net)
{
	const struct mmq_dataset *train = fit->train;
	const struct mmq_batch *x = &train->x;
	uint64_t hash = mmq_mix64(fit->seed ^ (net->params_count << 20)), bits;
	hash = mmq_mix64(hash ^ x->rows ^ (x->cols << 32) ^ (fit->valid != NULL ? (uint64_t)fit->valid->x.rows << 16 : 0));
	for (size_t i = 0; i < net->params_count; i++) {
		uint32_t value;
		memcpy(&value, &net->params[i], sizeof(value));
		hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	}
	for (size_t r = 0; r < x->rows; r++) {
		memcpy(&bits, &train->y[r], sizeof(bits));
		hash = mmq_mix64(hash ^ bits);
		for (size_t c = 0; x->row_start == NULL && c < x->cols; c++) {
			uint32_t value;
			memcpy(&value, (const float *)x->dense + r * x->stride + c, sizeof(value));
			hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
		}
	}
	for (size_t i = 0; i < x->rows * x->codes_cols; i++)
		hash = (hash ^ (uint32_t)x->codes[i]) * 0x9e3779b97f4a7c15u;
	for (uint64_t e = 0; x->row_start != NULL && e < x->row_start[x->rows]; e++) {
		uint32_t value;
		memcpy(&value, (const float *)x->value + e, sizeof(value));
		hash = (hash ^ value ^ ((uint64_t)x->col[e] << 32)) * 0x9e3779b97f4a7c15u;
	}
	return mmq_mix64(hash);
}

/* Scalars as bits: a best loss may be infinite, a missing one NaN. */
struct scalars {
	int64_t epochs, steps, stale;
	double best, best_valid, learning_rate, loss, valid_loss;
	uint64_t rng, fingerprint;
};

void
mmq_mlp_loop_put(const struct mmq_mlp_loop *loop, struct mmq_part *out)
{
	const struct scalars scalars = { loop->epochs, loop->steps, loop->stale, loop->best, loop->best_valid, loop->learning_rate, loop->loss, loop->valid_loss,
		loop->rng, loop->fingerprint };
	mmq_part_put_vector(out, "scalars", MMQ_U64, sizeof(scalars) / sizeof(uint64_t), &scalars);
	mmq_part_put_vector(out, "params", MMQ_F32, loop->params_count, loop->params);
	mmq_part_put_vector(out, "first", MMQ_F32, loop->params_count, loop->first);
	mmq_part_put_vector(out, "second", MMQ_F32, loop->params_count, loop->second);
	mmq_part_put_vector(out, "best", MMQ_F32, loop->params_count, loop->best_params);
	mmq_part_put_vector(out, "index", MMQ_U32, loop->rows, loop->index);
}

bool
mmq_mlp_loop_get(struct mmq_mlp_loop *loop, const struct mmq_part *in)
{
	const uint64_t params_want = loop->params_count, rows_want = loop->rows, scalars_want = sizeof(struct scalars) / sizeof(uint64_t);
	const struct mmq_tensor *params, *first, *second, *best, *index, *tensor;
	struct scalars scalars;
	struct mmq_err unused;
	if (mmq_part_get_tensor(in, "scalars", MMQ_U64, 1, &scalars_want, &tensor, &unused) == -1 ||
	    mmq_part_get_tensor(in, "params", MMQ_F32, 1, &params_want, &params, &unused) == -1 ||
	    mmq_part_get_tensor(in, "first", MMQ_F32, 1, &params_want, &first, &unused) == -1 ||
	    mmq_part_get_tensor(in, "second", MMQ_F32, 1, &params_want, &second, &unused) == -1 ||
	    mmq_part_get_tensor(in, "best", MMQ_F32, 1, &params_want, &best, &unused) == -1 ||
	    mmq_part_get_tensor(in, "index", MMQ_U32, 1, &rows_want, &index, &unused) == -1)
		return false;
	memcpy(&scalars, tensor->data, sizeof(scalars));
	for (size_t i = 0; i < loop->rows; i++)
		if (((const uint32_t *)index->data)[i] >= loop->rows)
			return false;
	if (scalars.fingerprint != loop->fingerprint || scalars.epochs < 1)
		return false;
	loop->epochs = scalars.epochs, loop->steps = scalars.steps, loop->stale = scalars.stale;
	loop->best = scalars.best, loop->best_valid = scalars.best_valid, loop->learning_rate = scalars.learning_rate;
	loop->loss = scalars.loss, loop->valid_loss = scalars.valid_loss, loop->rng = scalars.rng;
	memcpy(loop->params, params->data, loop->params_count * sizeof(float));
	memcpy(loop->first, first->data, loop->params_count * sizeof(float));
	memcpy(loop->second, second->data, loop->params_count * sizeof(float));
	memcpy(loop->best_params, best->data, loop->params_count * sizeof(float));
	memcpy(loop->index, index->data, loop->rows * sizeof(uint32_t));
	return true;
}
