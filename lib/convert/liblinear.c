/* liblinear.c: LIBLINEAR's text models. A head of `key values` lines, then after `w` a line a feature with a weight for each class; with bias >= 0 one
 * more line for the feature of that constant value. Two classes have one column, for the first label (but MCSVM_CS two). */
#include "convert/liblinear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "convert/lines.h"
#include "util/mem.h"

enum kind { LOGISTIC, MACHINE, CRAMMER_SINGER, REGRESSION, ONE_CLASS };
static const struct { const char *name; enum kind kind; const char *loss; } solvers[] = {
	{ "L2R_LR", LOGISTIC, "log_loss" }, { "L2R_L2LOSS_SVC_DUAL", MACHINE, "squared_hinge" }, { "L2R_L2LOSS_SVC", MACHINE, "squared_hinge" },
	{ "L2R_L1LOSS_SVC_DUAL", MACHINE, "hinge" }, { "MCSVM_CS", CRAMMER_SINGER, "hinge" }, { "L1R_L2LOSS_SVC", MACHINE, "squared_hinge" },
	{ "L1R_LR", LOGISTIC, "log_loss" }, { "L2R_LR_DUAL", LOGISTIC, "log_loss" }, { "L2R_L2LOSS_SVR", REGRESSION, "squared_epsilon_insensitive" },
	{ "L2R_L2LOSS_SVR_DUAL", REGRESSION, "squared_epsilon_insensitive" }, { "L2R_L1LOSS_SVR_DUAL", REGRESSION, "epsilon_insensitive" },
	{ "ONECLASS_SVM", ONE_CLASS, "hinge" },
};
enum { SOLVERS = sizeof(solvers) / sizeof(solvers[0]), FEATURES_MAX = 1 << 26 };
enum { HAS_SOLVER = 1, HAS_CLASSES = 2, HAS_FEATURES = 4, HAS_BIAS = 8, HAS_LABELS = 16, HAS_RHO = 32 };

struct head {
	size_t solver;
	int64_t classes, features;
	double bias, rho;
	unsigned has;
};

bool
mmq_liblinear_is_it(const uint8_t *bytes, size_t size)
{
	return size > 12 && memcmp(bytes, "solver_type ", 12) == 0;
}

static int
read_solver(struct mmq_lines *lines, struct head *head)
{
	const char *word = mmq_lines_word(lines);
	for (head->solver = 0; head->solver < SOLVERS; head->solver++)
		if (word != NULL && strcmp(word, solvers[head->solver].name) == 0)
			return 0;
	return mmq_lines_refuse(lines, "a solver type that this reader does not know");
}

static int
read_key(struct mmq_lines *lines, const char *key, struct head *head, struct mmq_classes *classes)
{
	static const char *const keys[] = { "solver_type", "nr_class", "nr_feature", "bias", "label", "rho" };
	unsigned k = 0;
	while (k < sizeof(keys) / sizeof(keys[0]) && strcmp(key, keys[k]) != 0)
		k++;
	if (k == sizeof(keys) / sizeof(keys[0]))
		return mmq_lines_refuse(lines, "a key that this reader does not know");
	if ((head->has & 1u << k) != 0)
		return mmq_lines_damaged(lines, "a key stands twice");
	head->has |= 1u << k;
	switch (1u << k) {
	case HAS_SOLVER:
		return read_solver(lines, head);
	case HAS_CLASSES:
		return mmq_lines_integer(lines, 1, MMQ_CLASSES_MAX, &head->classes);
	case HAS_FEATURES:
		return mmq_lines_integer(lines, 1, FEATURES_MAX, &head->features);
	case HAS_BIAS:
		return mmq_lines_number(lines, &head->bias);
	case HAS_RHO:
		return mmq_lines_number(lines, &head->rho);
	default:
		if ((head->has & HAS_CLASSES) == 0)
			return mmq_lines_damaged(lines, "labels stand before nr_class");
		return mmq_lines_labels(lines, (size_t)head->classes, classes);
	}
}

/* Everything up to the line `w`. */
static int
read_head(struct mmq_lines *lines, struct head *head, struct mmq_classes *classes)
{
	const char *key = NULL;
	while (mmq_lines_next(lines)) {
		key = mmq_lines_word(lines);
		if (key != NULL && strcmp(key, "w") == 0)
			break;
		if (key != NULL && read_key(lines, key, head, classes) == -1)
			return -1;
	}
	unsigned needed = HAS_SOLVER | HAS_CLASSES | HAS_FEATURES;
	if (key == NULL || strcmp(key, "w") != 0 || (head->has & needed) != needed)
		return mmq_lines_damaged(lines, "the head ends without solver_type, nr_class, nr_feature and w");
	enum kind kind = solvers[head->solver].kind;
	bool has_labels = kind != REGRESSION && kind != ONE_CLASS;
	if (((head->has & HAS_LABELS) != 0) != has_labels)
		return mmq_lines_damaged(lines, "labels with a model that has none, or none with one that has");
	if (has_labels && head->classes < 2)
		return mmq_lines_refuse(lines, "a model of one class predicts that class and nothing else");
	return 0;
}

/* weights (columns, features) and extra (columns) of the bias, turned from a line a feature. */
static int
read_weights(struct mmq_lines *lines, const struct head *head, size_t columns, double *weights, double *extra)
{
	size_t features = (size_t)head->features;
	double *numbers;
	for (size_t j = 0; j < features + (head->bias >= 0.0); j++) {
		if (!mmq_lines_next(lines))
			return mmq_lines_damaged(lines, "the file ends before all weights were there");
		int result = mmq_lines_numbers(lines, columns, &numbers);
		for (size_t k = 0; result == 0 && k < columns; k++)
			*(j < features ? &weights[k * features + j] : &extra[k]) = j < features ? numbers[k] : numbers[k] * head->bias;
		free(numbers);
		if (result == -1)
			return -1;
	}
	while (mmq_lines_next(lines))
		if (!mmq_lines_is_over(lines))
			return mmq_lines_damaged(lines, "more lines than nr_feature announces");
	return 0;
}

static void
put_part(struct mmq_part *part, const struct head *head, size_t outputs, uint32_t classes, const double *weights, const double *intercept)
{
	size_t features = (size_t)head->features;
	double *mean = mmq_array(features, sizeof(*mean));
	uint32_t *map = mmq_array(features, sizeof(*map));
	for (size_t j = 0; j < features; j++)
		map[j] = (uint32_t)j;
	mmq_part_put_int(part, "classes", classes);
	mmq_part_put_int(part, "features", head->features);
	mmq_part_put_int(part, "iterations", 0);
	mmq_part_put_double(part, "loss", 0.0);
	mmq_part_put_bool(part, "converged", true);
	mmq_part_put_text(part, "method", "liblinear");
	mmq_part_put_text(part, "link", solvers[head->solver].kind != LOGISTIC ? "none" : classes == 2 ? "logistic" : "ratio");
	mmq_part_put_text(part, "loss_name", solvers[head->solver].loss);
	mmq_part_put_matrix(part, "coef", MMQ_F64, outputs, features, weights);
	mmq_part_put_vector(part, "intercept", MMQ_F64, outputs, intercept);
	mmq_part_put_vector(part, "mean", MMQ_F64, features, mean);
	mmq_part_put_vector(part, "feature_of", MMQ_U32, features, map);
	free(mean);
	free(map);
}

static int
read_body(struct mmq_converted *converted, struct mmq_lines *lines, const struct head *head)
{
	enum kind kind = solvers[head->solver].kind;
	bool has_labels = kind != REGRESSION && kind != ONE_CLASS;
	size_t features = (size_t)head->features, classes = has_labels ? (size_t)head->classes : 0;
	size_t columns = classes > 2 || (classes == 2 && kind == CRAMMER_SINGER) ? classes : 1;
	/* Each weight takes two bytes: no more memory than the file has bytes. */
	if (features * columns > mmq_lines_bytes_left(lines) / 2 + 1)
		return mmq_lines_damaged(lines, "the file is too short for its weights");
	double *weights = mmq_array(features * columns, sizeof(*weights)), *intercept = mmq_array(columns, sizeof(*intercept));
	int result = read_weights(lines, head, columns, weights, intercept);
	for (size_t j = 0; classes == 2 && columns == 2 && j < features; j++)
		weights[j] -= weights[features + j];
	if (classes == 2 && columns == 2)
		intercept[0] -= intercept[1];
	intercept[0] -= kind == ONE_CLASS ? head->rho : 0.0;
	if (result == 0)
		put_part(&converted->part, head, classes > 2 ? classes : 1, (uint32_t)classes, weights, intercept);
	free(weights);
	free(intercept);
	converted->engine = "linear";
	converted->task = classes > 2 ? MMQ_MULTICLASS : classes == 2 ? MMQ_BINARY : kind == ONE_CLASS ? MMQ_ONE_CLASS : MMQ_REGRESSION;
	converted->positive = 0;
	converted->features_count = features;
	converted->dtype = MMQ_F64;
	return result;
}

int
mmq_liblinear_read(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	struct mmq_lines lines;
	struct head head = { .bias = -1.0 };
	int result = mmq_lines_init(&lines, "LIBLINEAR", bytes, size, err);
	if (result == 0)
		result = read_head(&lines, &head, &converted->classes) == -1 || read_body(converted, &lines, &head) == -1 ? -1 : 0;
	mmq_lines_fini(&lines);
	return result;
}

/* The numbers of a model, with the preparation of inputs and target folded in. */
struct folded {
	size_t outputs, cols;
	double *weights, *intercept;   /* (outputs, cols), (outputs) */
	const char *link, *loss_name;
};

static int
fold(struct folded *f, const struct mmq_converted *converted, struct mmq_err *err)
{
	const struct mmq_tensor *coef = mmq_part_find_tensor(&converted->part, "coef"), *intercept = mmq_part_find_tensor(&converted->part, "intercept");
	if (mmq_part_get_text(&converted->part, "link", &f->link, err) == -1 || mmq_part_get_text(&converted->part, "loss_name", &f->loss_name, err) == -1)
		return -1;
	f->outputs = coef->shape[0];
	f->cols = coef->shape[1];
	if (f->cols != converted->features_count)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "LIBLINEAR: its models take numbers as they are; this one makes %zu columns of %zu inputs", f->cols,
		    converted->features_count);
	f->weights = mmq_array(f->outputs * f->cols, sizeof(double));
	f->intercept = mmq_array(f->outputs, sizeof(double));
	double scale = converted->task == MMQ_REGRESSION ? converted->target_scale : 1.0;
	for (size_t k = 0; k < f->outputs; k++) {
		f->intercept[k] = ((const double *)intercept->data)[k] * scale + (converted->task == MMQ_REGRESSION ? converted->target_mean : 0.0);
		for (size_t j = 0; j < f->cols; j++) {
			double weight = ((const double *)coef->data)[k * f->cols + j] * scale * (converted->scale != NULL ? converted->scale[j] : 1.0);
			f->weights[k * f->cols + j] = weight;
			f->intercept[k] -= weight * (converted->center != NULL ? converted->center[j] : 0.0);
		}
	}
	return 0;
}

static const char *
solver_name(const struct mmq_converted *converted, const struct folded *f)
{
	if (converted->task == MMQ_ONE_CLASS)
		return "ONECLASS_SVM";
	if (converted->task == MMQ_REGRESSION)
		return "L2R_L2LOSS_SVR";
	if (strcmp(f->loss_name, "log_loss") == 0 || strcmp(f->link, "logistic") == 0)
		return strcmp(f->link, "softmax") == 0 ? "MCSVM_CS" : "L2R_LR";
	return strcmp(f->link, "softmax") == 0 ? "MCSVM_CS" : strcmp(f->loss_name, "hinge") == 0 ? "L2R_L1LOSS_SVC_DUAL" : "L2R_L2LOSS_SVC";
}

static int
write_labels(const struct mmq_converted *converted, struct mmq_buf *out, struct mmq_err *err)
{
	const struct mmq_classes *classes = &converted->classes;
	mmq_buf_printf(out, "label");
	for (size_t k = 0; k < classes->count; k++) {
		long label;
		size_t at = classes->count > 2 ? k : k == 0 ? converted->positive : 1 - converted->positive;
		if (mmq_lines_label("LIBLINEAR", classes, at, &label, err) == -1)
			return -1;
		mmq_buf_printf(out, " %ld", label);
	}
	mmq_buf_printf(out, "\n");
	return 0;
}

int
mmq_liblinear_write(const struct mmq_converted *converted, struct mmq_buf *out, struct mmq_err *err)
{
	struct folded f = { 0 };
	bool has_rho = converted->task == MMQ_ONE_CLASS;
	int result = fold(&f, converted, err);
	if (result == 0) {
		mmq_buf_printf(out, "solver_type %s\nnr_class %zu\n", solver_name(converted, &f), converted->classes.count == 0 ? 2 : converted->classes.count);
		result = converted->classes.count == 0 ? 0 : write_labels(converted, out, err);
		mmq_buf_printf(out, "nr_feature %zu\nbias %d\n", f.cols, has_rho ? -1 : 1);
		if (has_rho)
			mmq_buf_printf(out, "rho %.17g\n", -f.intercept[0]);
		mmq_buf_printf(out, "w\n");
	}
	for (size_t j = 0; result == 0 && j < f.cols + !has_rho && !out->failed; j++) {
		for (size_t k = 0; k < f.outputs; k++)
			mmq_buf_printf(out, "%.17g ", j < f.cols ? f.weights[k * f.cols + j] : f.intercept[k]);
		mmq_buf_printf(out, "\n");
	}
	free(f.weights);
	free(f.intercept);
	return result == 0 && out->failed ? mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "LIBLINEAR: the file would be larger than is allowed") : result;
}
