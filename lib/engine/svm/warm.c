/* warm.c: the alphas of a model trained before, by the rows of this training set.
 *
 * A model keeps its vectors but not which rows they were: rows are recognised by their content, whatever their order, so that rows may have
 * come and gone. A false match or a missed one costs steps, not correctness: it is only where the solver starts. */
#include <stdlib.h>
#include <string.h>

#include "engine/svm/train.h"
#include "math/rng.h"
#include "util/mem.h"

static uint64_t
add_value(uint64_t hash, size_t col, double value)
{
	float single = (float)value;
	uint32_t bits;
	memcpy(&bits, &single, sizeof(bits));
	return single == 0.0f ? hash : mmq_mix64(hash ^ ((uint64_t)col << 32 | bits));
}

static uint64_t
hash_of_row(const struct mmq_batch *x, size_t row)
{
	uint64_t hash = 0;
	size_t col, stored = svm_batch_stored(x, row);
	for (size_t k = 0; k < stored; k++) {
		double value = svm_batch_get(x, row, k, &col);
		hash = add_value(hash, col, value);
	}
	return hash;
}

static uint64_t
hash_of_vector(const struct svm_rows *rows, size_t v)
{
	uint64_t hash = 0, from = rows->form.sparse ? rows->start[v] : 0, to = rows->form.sparse ? rows->start[v + 1] : rows->cols;
	for (uint64_t k = from; k < to; k++) {
		size_t col = rows->form.sparse ? rows->col[k] : k, at = (size_t)k;
		if (!rows->form.sparse)
			at = rows->form.wide ? v * rows->cols + col : (v / SVM_PANEL * rows->cols + col) * SVM_PANEL + v % SVM_PANEL;
		hash = add_value(hash, col, rows->form.wide ? ((const double *)rows->values)[at] : (double)((const float *)rows->values)[at]);
	}
	return hash;
}

struct found {
	uint64_t hash;
	uint32_t vector;
	bool taken;
};

static int
by_hash(const void *a_p, const void *b_p)
{
	const struct found *a = a_p, *b = b_p;
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return (a->vector > b->vector) - (a->vector < b->vector);
}

/* A vector of this content and class that no row has had yet; SIZE_MAX: none. */
static size_t
take_vector(struct found *found, size_t count, const struct svm_model *model, uint64_t hash, uint32_t class)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (found[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < count && found[low].hash == hash; low++) {
		uint32_t v = found[low].vector;
		bool same_class = model->task == MMQ_MULTICLASS ? v >= model->class_start[class] && v < model->class_start[class + 1] :
		    model->task != MMQ_BINARY || (model->coef[v] > 0) == (class == 1);
		if (!found[low].taken && same_class) {
			found[low].taken = true;
			return v;
		}
	}
	return SIZE_MAX;
}

double *
svm_previous(const struct svm_training *training, const struct svm_model *model)
{
	const struct mmq_dataset *data = training->fit->train;
	size_t count = model->vectors.count, places = training->set.rows.panels * SVM_PANEL, matched = 0;

	if (model->task != training->fit->task || model->classes != data->classes || model->vectors.cols != data->x.cols ||
	    model->vectors.form.precomputed != training->form.precomputed)
		return NULL;
	struct found *found = mmq_array(count, sizeof(*found));
	double *previous = mmq_array(model->pairs * places, sizeof(double));
	for (size_t v = 0; v < count; v++)
		found[v] = (struct found){ training->form.precomputed ? model->vectors.column[v] : hash_of_vector(&model->vectors, v), (uint32_t)v, false };
	qsort(found, count, sizeof(*found), by_hash);
	for (size_t place = 0; place < places; place++) {
		size_t row = training->order[place];
		if (row == SVM_NO_ROW)
			continue;
		uint32_t class = data->classes > 0 ? (uint32_t)data->y[row] : 0;
		size_t v = take_vector(found, count, model, training->form.precomputed ? row : hash_of_row(&data->x, row), class);
		for (size_t p = 0; v != SIZE_MAX && p < training->pairs_count; p++) {
			const struct svm_pair *pair = &training->pairs[p];
			size_t coef_row = 0;
			if (model->task == MMQ_MULTICLASS && class != pair->first && class != pair->second)
				continue;
			if (model->task == MMQ_MULTICLASS)
				coef_row = class == pair->first ? pair->second - 1 : pair->first;
			previous[p * places + place] = model->coef[coef_row * count + v];
		}
		matched += v != SIZE_MAX;
	}
	free(found);
	if (matched == 0) {
		free(previous);
		return NULL;
	}
	return previous;
}
