/* checkpoint.c: a fit by boosting between two rounds as a part, so that a killed job goes on and ends with the same bits.
 *
 * The trees so far are kept as a model is, with what it takes to cut them back; and the scores, which would cost all trees over all rows to work out
 * anew. What was drawn at random needs no keeping: it depends on seed, round and row alone. */
#include <string.h>

#include "engine/tree/grow.h"
#include "util/buf.h"
#include "util/hash.h"

enum { PARAMS_BYTES_MAX = 1 << 20 };

uint64_t
mmq_boost_fingerprint(const struct mmq_fit *fit, const struct mmq_tree_bins *bins)
{
	const struct mmq_dataset *const sets[] = { fit->train, fit->valid };
	struct mmq_buf params;
	mmq_buf_init(&params, PARAMS_BYTES_MAX);
	mmq_params_write(fit->params, &params);
	uint64_t hash = mmq_hash64_pair(fit->seed, mmq_hash64(params.bytes, params.size));
	mmq_buf_fini(&params);
	hash = mmq_hash64_pair(hash, mmq_hash64(bins->by_column, bins->columns_count * bins->rows));
	for (size_t i = 0; i < 2 && sets[i] != NULL; i++) {
		hash = mmq_hash64_pair(hash, mmq_hash64(sets[i]->y, sets[i]->x.rows * sizeof(double)));
		if (sets[i]->weight != NULL)
			hash = mmq_hash64_pair(hash, mmq_hash64(sets[i]->weight, sets[i]->x.rows * sizeof(float)));
	}
	const struct mmq_tree_model *previous = fit->previous;
	return previous == NULL ? hash : mmq_hash64_pair(hash, mmq_hash64(previous->values, (size_t)previous->value_rows * sizeof(double)));
}

void
mmq_boost_put(const struct mmq_boost_at *at, const struct mmq_tree_options *options, const double *base, struct mmq_part *out)
{
	const uint64_t counts[] = { at->fingerprint, at->round, at->best_round };
	mmq_tree_builder_put(at->builder, options, base, out);
	mmq_part_put_vector(out, "at", MMQ_U64, 3, counts);
	mmq_part_put_vector(out, "best_loss", MMQ_F64, 1, &at->best_loss);
	mmq_part_put_vector(out, "score", MMQ_F64, at->scores, at->score);
	if (at->valid_scores > 0)
		mmq_part_put_vector(out, "valid_score", MMQ_F64, at->valid_scores, at->valid_score);
}

bool
mmq_boost_get(struct mmq_boost_at *at, const struct mmq_part *in, const struct mmq_tree_model *previous)
{
	const uint64_t three = 3, one = 1, scores = at->scores, valid_scores = at->valid_scores;
	const struct mmq_tensor *counts, *best_loss, *score, *valid_score = NULL;
	struct mmq_err unused;
	if (mmq_part_get_tensor(in, "at", MMQ_U64, 1, &three, &counts, &unused) == -1 ||
	    mmq_part_get_tensor(in, "best_loss", MMQ_F64, 1, &one, &best_loss, &unused) == -1 ||
	    mmq_part_get_tensor(in, "score", MMQ_F64, 1, &scores, &score, &unused) == -1 ||
	    (valid_scores > 0 && mmq_part_get_tensor(in, "valid_score", MMQ_F64, 1, &valid_scores, &valid_score, &unused) == -1))
		return false;
	const uint64_t *kept = counts->data;
	uint64_t trees = mmq_tree_builder_get(at->builder, in, previous), outputs = at->outputs;
	if (kept[0] != at->fingerprint || trees == 0 || kept[1] != trees / outputs || trees % outputs != 0 || kept[2] > kept[1])
		return false;
	at->round = (uint32_t)kept[1];
	at->best_round = (uint32_t)kept[2];
	memcpy(&at->best_loss, best_loss->data, sizeof(double));
	memcpy(at->score, score->data, at->scores * sizeof(double));
	if (valid_scores > 0)
		memcpy(at->valid_score, valid_score->data, at->valid_scores * sizeof(double));
	return true;
}
