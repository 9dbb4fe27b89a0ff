/* decide.c: labels, thresholds and units over any engine's numbers. */
#include "model/decide.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

void
mmq_decide_one_class(struct mmq_classes *classes_out)
{
	*classes_out = (struct mmq_classes){ .type = MMQ_LABEL_INT, .count = 2, .ints = mmq_array(2, sizeof(*classes_out->ints)) };
	classes_out->ints[0] = -1;
	classes_out->ints[1] = 1;
}

void
mmq_decide_fini(struct mmq_decide *decide)
{
	mmq_classes_fini(&decide->classes);
}

void
mmq_decide_save(const struct mmq_decide *decide, struct mmq_part *out)
{
	const struct mmq_classes *classes = &decide->classes;

	mmq_part_put_int(out, "task", decide->task);
	mmq_part_put_int(out, "positive", decide->positive);
	mmq_part_put_bool(out, "pairwise", decide->pairwise);
	mmq_part_put_double(out, "threshold", decide->threshold);
	mmq_part_put_double(out, "mean", decide->mean);
	mmq_part_put_double(out, "scale", decide->scale);
	mmq_part_put_int(out, "label_type", classes->type);
	if (classes->type == MMQ_LABEL_TEXT)
		mmq_part_put_texts(out, "labels", (const char *const *)classes->texts, classes->count);
	else
		mmq_part_put_vector(out, "labels", MMQ_I64, classes->count, classes->ints);
}

static int
open_classes(struct mmq_decide *decide, const struct mmq_part *in, struct mmq_err *err)
{
	int64_t type;

	if (mmq_part_get_int(in, "label_type", MMQ_LABEL_INT, MMQ_LABEL_BOOL, &type, err) == -1)
		return -1;
	struct mmq_classes borrowed = { .type = (enum mmq_label_type)type };
	if (borrowed.type == MMQ_LABEL_TEXT) {
		const char *const *texts;
		if (mmq_part_get_texts(in, "labels", &texts, &borrowed.count, err) == -1)
			return -1;
		borrowed.texts = (char **)texts;
	} else {
		const struct mmq_tensor *tensor;
		if (mmq_part_get_tensor(in, "labels", MMQ_I64, 1, (uint64_t[]){ UINT64_MAX }, &tensor, err) == -1)
			return -1;
		borrowed.count = (size_t)tensor->shape[0];
		borrowed.ints = (int64_t *)tensor->data;
	}
	if (borrowed.count > MMQ_CLASSES_MAX)
		return mmq_err_set(err, MMQ_DATA_LOSS, "model value 'labels': got %zu classes, want at most %d", borrowed.count, MMQ_CLASSES_MAX);
	mmq_classes_copy(&decide->classes, &borrowed);
	return 0;
}

int
mmq_decide_open(struct mmq_decide *decide, const struct mmq_part *in, struct mmq_err *err)
{
	int64_t task, positive;

	*decide = (struct mmq_decide){ 0 };
	if (mmq_part_get_int(in, "task", MMQ_REGRESSION, MMQ_ONE_CLASS, &task, err) == -1 ||
	    mmq_part_get_int(in, "positive", 0, 1, &positive, err) == -1 ||
	    mmq_part_get_bool(in, "pairwise", &decide->pairwise, err) == -1 ||
	    mmq_part_get_double(in, "threshold", &decide->threshold, err) == -1 ||
	    mmq_part_get_double(in, "mean", &decide->mean, err) == -1 || mmq_part_get_double(in, "scale", &decide->scale, err) == -1 ||
	    open_classes(decide, in, err) == -1)
		return -1;
	decide->task = (enum mmq_task)task;
	decide->positive = (uint32_t)positive;
	size_t count = decide->classes.count;
	bool fits = decide->task == MMQ_REGRESSION ? count == 0 : decide->task == MMQ_BINARY ? count == 2 : decide->task == MMQ_ONE_CLASS ?
	    count == 2 && decide->classes.type == MMQ_LABEL_INT : decide->task == MMQ_MULTICLASS && count >= 3;
	if (!fits)
		return mmq_err_set(err, MMQ_DATA_LOSS, "model value 'task': got %lld with %zu classes", (long long)task, count);
	return 0;
}

static uint32_t
largest(const double *values, size_t count)
{
	uint32_t best = 0;
	for (uint32_t i = 1; i < count; i++)
		if (values[i] > values[best])
			best = i;
	return best;
}

/* score (classes*(classes-1)/2): (0,1) (0,2) .. (1,2) ..; > 0 is a vote for the first of the pair. */
static uint32_t
most_votes(const double *score, size_t classes)
{
	uint32_t best = 0;
	size_t best_votes = 0;

	for (size_t i = 0; i < classes; i++) {
		size_t votes = 0;
		for (size_t j = 0; j < i; j++)
			votes += !(score[j * (2 * classes - j - 1) / 2 + i - j - 1] > 0);
		for (size_t j = i + 1; j < classes; j++)
			votes += score[i * (2 * classes - i - 1) / 2 + j - i - 1] > 0;
		if (votes > best_votes) {
			best = (uint32_t)i;
			best_votes = votes;
		}
	}
	return best;
}

void
mmq_decide_labels(const struct mmq_decide *decide, size_t rows, const double *score, size_t score_cols, const double *probability,
    uint32_t *label_out)
{
	size_t classes = decide->classes.count;

	if (decide->task == MMQ_ONE_CLASS) {
		for (size_t r = 0; r < rows; r++)
			label_out[r] = score[r * score_cols] > 0;
		return;
	}
	if (decide->task == MMQ_BINARY) {
		for (size_t r = 0; r < rows; r++) {
			bool is_positive = probability != NULL ? probability[2 * r + decide->positive] > decide->threshold : score[r * score_cols] > 0;
			label_out[r] = mmq_decide_class(decide, is_positive);
		}
		return;
	}
	for (size_t r = 0; r < rows; r++)
		label_out[r] = probability != NULL ? largest(probability + r * classes, classes) :
		    decide->pairwise ? most_votes(score + r * score_cols, classes) : largest(score + r * score_cols, classes);
}

void
mmq_decide_probability(const struct mmq_decide *decide, size_t rows, double *probability)
{
	if (decide->task != MMQ_BINARY || decide->positive != 0)
		return;
	for (size_t r = 0; r < rows; r++) {
		double swap = probability[2 * r];
		probability[2 * r] = probability[2 * r + 1];
		probability[2 * r + 1] = swap;
	}
}

void
mmq_decide_values(const struct mmq_decide *decide, size_t rows, double *value)
{
	for (size_t r = 0; r < rows; r++)
		value[r] = decide->mean + decide->scale * value[r];
}
