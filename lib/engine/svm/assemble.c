/* assemble.c: from solved pairs to one model. */
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "engine/svm/train.h"
#include "util/mem.h"

/* Each support vector once, in the order of places (which is by class), and where each class starts. */
static void
gather_vectors(struct svm_model *model, const struct svm_training *training, uint32_t *index_of)
{
	size_t places = training->set.rows.panels * SVM_PANEL, count = 0;
	uint32_t *order = mmq_array(places, sizeof(*order));
	uint8_t *is_vector = mmq_array(places, 1);
	struct svm_form form = training->form;

	for (size_t p = 0; p < model->pairs; p++) {
		const struct svm_pair *pair = &training->pairs[p];
		size_t rows = 0;
		for (size_t k = 0; k < pair->pieces; k++)
			rows += training->segment_start[pair->piece[k] + 1] - training->segment_start[pair->piece[k]];
		for (size_t r = 0; pair->signed_alpha != NULL && r < rows; r++)
			is_vector[svm_case_place(training, pair, r)] |= pair->signed_alpha[r] != 0;
	}
	model->class_start = mmq_array((size_t)model->classes + 1, sizeof(uint32_t));
	for (size_t place = 0, segment = 0; place < places; place++) {
		while (model->task == MMQ_MULTICLASS && place >= training->segment_start[segment + 1])
			model->class_start[++segment] = (uint32_t)count;
		if (!is_vector[place])
			continue;
		index_of[place] = (uint32_t)count;
		order[count++] = training->order[place];
	}
	/* Classes that come after the last place: empty ones. */
	for (uint32_t c = 0; model->task == MMQ_MULTICLASS && c < model->classes; c++)
		if (training->segment_start[c + 1] >= places)
			model->class_start[c + 1] = (uint32_t)count;
	form.wide = form.wide || form.precomputed;   /* kernel values that are given are taken as they come */
	svm_rows_init(&model->vectors, &training->fit->train->x, order, count, form);
	free(order);
	free(is_vector);
}

static void
gather_coefficients(struct svm_model *model, const struct svm_training *training, const uint32_t *index_of)
{
	const double *y = training->fit->train->y;
	size_t count = model->vectors.count, coefs = model->coef_rows * count;

	model->owned = mmq_array(coefs + 3 * model->pairs, sizeof(double));
	model->coef = model->owned;
	model->rho = model->owned + coefs;
	model->sigmoid = training->with_probability ? model->rho + model->pairs : NULL;
	for (size_t p = 0; p < model->pairs; p++) {
		const struct svm_pair *pair = &training->pairs[p];
		size_t rows = 0;
		for (size_t k = 0; k < pair->pieces; k++)
			rows += training->segment_start[pair->piece[k] + 1] - training->segment_start[pair->piece[k]];
		for (size_t r = 0; pair->signed_alpha != NULL && r < rows; r++) {
			size_t place = svm_case_place(training, pair, r), coef_row = 0;
			if (pair->signed_alpha[r] == 0)
				continue;
			if (model->task == MMQ_MULTICLASS)
				coef_row = (uint32_t)y[training->order[place]] == pair->first ? pair->second - 1 : pair->first;
			model->owned[coef_row * count + index_of[place]] = pair->signed_alpha[r];
		}
		model->owned[coefs + p] = pair->rho;
		model->owned[coefs + model->pairs + 2 * p] = pair->sigmoid[0];
		model->owned[coefs + model->pairs + 2 * p + 1] = pair->sigmoid[1];
		model->objective += pair->objective;
		model->iterations += pair->iterations;
		model->not_converged += !pair->converged;
		model->gap_max = pair->gap > model->gap_max ? pair->gap : model->gap_max;
	}
}

/* The training means, and the first column of each feature. A sparse model starts from zero: its rows stay sparse on the way. */
static void
gather_origin(struct svm_model *model, const struct mmq_dataset *data)
{
	size_t cols = data->x.cols, col;
	bool by_feature = data->features != NULL && mmq_check_feature_cols(data->features, data->features_count) == cols;

	model->features = by_feature ? data->features_count : cols;
	model->feature_start = mmq_array(model->features + 1, sizeof(uint32_t));
	for (size_t f = 0; f < model->features; f++)
		model->feature_start[f + 1] = model->feature_start[f] + (by_feature ? (uint32_t)mmq_check_feature_cols(&data->features[f], 1) : 1);
	model->origin = mmq_array(cols, sizeof(double));
	if (model->vectors.form.sparse)
		return;
	for (size_t r = 0; r < data->x.rows; r++)
		for (size_t k = 0; k < svm_batch_stored(&data->x, r); k++) {
			double value = svm_batch_get(&data->x, r, k, &col);
			model->origin[col] += value;
		}
	for (size_t j = 0; j < cols; j++)
		model->origin[j] /= (double)data->x.rows;
}

struct svm_model *
svm_assemble(const struct svm_training *training)
{
	const struct mmq_fit *fit = training->fit;
	struct svm_model *model = mmq_alloc(sizeof(*model));
	uint32_t *index_of = mmq_array(training->set.rows.panels * SVM_PANEL, sizeof(*index_of));

	model->task = fit->task;
	model->is_nu = training->is_nu || fit->task == MMQ_ONE_CLASS;
	model->kernel = training->kernel;
	model->classes = fit->train->classes;
	model->pairs = training->pairs_count;
	model->coef_rows = fit->task == MMQ_MULTICLASS ? model->classes - 1 : 1;
	model->seed = fit->seed & INT64_MAX;
	gather_vectors(model, training, index_of);
	gather_coefficients(model, training, index_of);
	if (!training->form.precomputed)
		gather_origin(model, fit->train);
	svm_model_derive(model);
	free(index_of);
	return model;
}
