/* libsvm.c: reading LIBSVM's text models. A head of `key values` lines, then after `SV` a line a support vector: its coefficients, one for each other
 * class, and index:value pairs from index 1 on; with a precomputed kernel 0:row instead. Writing is libsvm_write.c. */
#include "convert/libsvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "convert/lines.h"
#include "util/mem.h"

enum { COLS_MAX = 1 << 24, SPARSE_BELOW_PERCENT = 25, DENSE_ELEMENTS_MAX = 1 << 26 };
enum key { SVM_TYPE, KERNEL_TYPE, DEGREE, GAMMA, COEF0, NR_CLASS, TOTAL_SV, RHO, LABEL, PROB_A, PROB_B, MARKS, NR_SV, KEYS };
static const char *const key_names[KEYS] = { "svm_type", "kernel_type", "degree", "gamma", "coef0", "nr_class", "total_sv", "rho", "label", "probA",
	"probB", "prob_density_marks", "nr_sv" };
static const struct { const char *name, *formulation; bool has_labels, is_one_class; } types[] = { { "c_svc", "c", true, false },
	{ "nu_svc", "nu", true, false }, { "one_class", "nu", false, true }, { "epsilon_svr", "c", false, false }, { "nu_svr", "nu", false, false } };
enum { TYPES = sizeof(types) / sizeof(types[0]), KERNELS = 5, PRECOMPUTED = 4 };
static const char *const kernels[KERNELS][2] = { { "linear", "linear" }, { "polynomial", "poly" }, { "rbf", "rbf" }, { "sigmoid", "sigmoid" },
	{ "precomputed", "precomputed" } };   /* LIBSVM's name, ours */

struct reader {
	struct mmq_lines lines;
	unsigned has;                /* bits of enum key */
	int type, kernel;
	int64_t degree, classes, vectors;
	double gamma, coef0;
	double *rho, *a, *b;         /* (pairs) */
	double *counts;              /* (classes) nr_sv */
	struct mmq_classes labels;
	size_t coef_rows;
	double *coef;                /* (vectors, coef_rows) as it stands in the file */
	uint64_t *start;             /* (vectors + 1) */
	uint32_t *col;
	double *value;
	size_t stored, capacity, cols;
};

bool
mmq_libsvm_model_is_it(const uint8_t *bytes, size_t size)
{
	return size > 9 && memcmp(bytes, "svm_type ", 9) == 0;
}

static bool
has(const struct reader *r, enum key key)
{
	return (r->has & 1u << key) != 0;
}

static size_t
pairs_of(const struct reader *r)
{
	return types[r->type].has_labels ? (size_t)(r->classes * (r->classes - 1) / 2) : 1;
}

static int
read_name(struct reader *r, bool is_type)
{
	const char *word = mmq_lines_word(&r->lines);
	for (int k = 0; k < (is_type ? (int)TYPES : (int)KERNELS); k++) {
		if (word == NULL || strcmp(word, is_type ? types[k].name : kernels[k][0]) != 0)
			continue;
		*(is_type ? &r->type : &r->kernel) = k;
		return 0;
	}
	return mmq_lines_refuse(&r->lines, is_type ? "an SVM type that this reader does not know" : "a kernel that this reader does not know");
}

static int
read_key(struct reader *r, enum key key)
{
	struct mmq_lines *lines = &r->lines;
	if (has(r, key))
		return mmq_lines_damaged(lines, "a key stands twice");
	if (key >= RHO && !(has(r, SVM_TYPE) && has(r, NR_CLASS)))
		return mmq_lines_damaged(lines, "svm_type and nr_class have to come before this line");
	r->has |= 1u << key;
	switch (key) {
	case SVM_TYPE:
	case KERNEL_TYPE:
		return read_name(r, key == SVM_TYPE);
	case DEGREE:
		return mmq_lines_integer(lines, 0, INT32_MAX, &r->degree);
	case GAMMA:
		return mmq_lines_number(lines, &r->gamma);
	case COEF0:
		return mmq_lines_number(lines, &r->coef0);
	case NR_CLASS:
		return mmq_lines_integer(lines, 1, MMQ_CLASSES_MAX, &r->classes);
	case TOTAL_SV:
		return mmq_lines_integer(lines, 0, UINT32_MAX - 1, &r->vectors);
	case RHO:
		return mmq_lines_numbers(lines, pairs_of(r), &r->rho);
	case LABEL:
		return mmq_lines_labels(lines, (size_t)r->classes, &r->labels);
	case PROB_A:
		return mmq_lines_numbers(lines, pairs_of(r), &r->a);
	case PROB_B:
		return mmq_lines_numbers(lines, pairs_of(r), &r->b);
	case NR_SV:
		return mmq_lines_numbers(lines, (size_t)r->classes, &r->counts);
	default:
		return 0;            /* density marks */
	}
}

static int
check_head(struct reader *r)
{
	unsigned needed = 1u << SVM_TYPE | 1u << KERNEL_TYPE | 1u << NR_CLASS | 1u << TOTAL_SV | 1u << RHO;
	if ((r->has & needed) != needed)
		return mmq_lines_damaged(&r->lines, "the head ends without svm_type, kernel_type, nr_class, total_sv and rho");
	bool has_labels = types[r->type].has_labels;
	if (has(r, LABEL) != has_labels || (has_labels && has(r, NR_SV) != true))
		return mmq_lines_damaged(&r->lines, "labels or nr_sv with a model that has none, or none with one that has");
	if (has_labels && r->classes < 2)
		return mmq_lines_refuse(&r->lines, "a model of one class predicts that class and nothing else");
	if (has_labels && has(r, PROB_A) != has(r, PROB_B))
		return mmq_lines_damaged(&r->lines, "probA without probB");
	double total = 0.0;
	for (int64_t k = 0; has_labels && k < r->classes; k++) {
		if (!(r->counts[k] >= 0.0 && r->counts[k] == floor(r->counts[k])))
			return mmq_lines_damaged(&r->lines, "nr_sv holds something that is no count");
		total += r->counts[k];
	}
	if (has_labels && total != (double)r->vectors)
		return mmq_lines_damaged(&r->lines, "nr_sv does not add up to total_sv");
	r->coef_rows = has_labels ? (size_t)r->classes - 1 : 1;
	return 0;
}

static int
read_head(struct reader *r)
{
	while (mmq_lines_next(&r->lines)) {
		const char *word = mmq_lines_word(&r->lines);
		int key = 0;
		if (word == NULL)
			continue;
		if (strcmp(word, "SV") == 0)
			return check_head(r);
		while (key < KEYS && strcmp(word, key_names[key]) != 0)
			key++;
		if (key == KEYS)
			return mmq_lines_refuse(&r->lines, "a key that this reader does not know");
		if (read_key(r, (enum key)key) == -1)
			return -1;
	}
	return mmq_lines_damaged(&r->lines, "the file ends before the support vectors");
}

/* One index:value of vector v. */
static int
read_pair(struct reader *r, size_t v, char *word)
{
	char *end;
	long long index = strtoll(word, &end, 10);
	if (end == word || *end != ':' || index < 0 || index > COLS_MAX || (index == 0) != (r->kernel == PRECOMPUTED))
		return mmq_lines_damaged(&r->lines, "an index is out of range");
	char *number = end + 1;
	double value = strtod(number, &end);
	if (end == number || *end != '\0' || !isfinite(value))
		return mmq_lines_damaged(&r->lines, "a value is no finite number");
	if (r->kernel == PRECOMPUTED) {      /* the number of a training row, from 1 on, is what counts */
		index = value >= 1.0 && value <= COLS_MAX && value == floor(value) ? (long long)value : 0;
		if (index == 0 || r->stored != v)
			return mmq_lines_damaged(&r->lines, "a precomputed kernel wants one 0:row a line");
	} else if (r->stored > r->start[v] && r->col[r->stored - 1] >= (uint32_t)index - 1) {
		return mmq_lines_damaged(&r->lines, "indices do not ascend");
	}
	if (r->stored == r->capacity) {
		r->capacity = 2 * r->capacity + 1024;
		r->col = mmq_grow(r->col, r->capacity, sizeof(*r->col));
		r->value = mmq_grow(r->value, r->capacity, sizeof(*r->value));
	}
	r->col[r->stored] = (uint32_t)(index - 1);
	r->value[r->stored++] = value;
	r->cols = (size_t)index > r->cols ? (size_t)index : r->cols;
	return 0;
}

static int
read_vectors(struct reader *r)
{
	size_t count = (size_t)r->vectors;
	char *word;
	/* Each coefficient takes two bytes: no more memory than the file has bytes. */
	if (count > mmq_lines_bytes_left(&r->lines) / (2 * r->coef_rows) + 1)
		return mmq_lines_damaged(&r->lines, "the file is too short for its support vectors");
	r->coef = mmq_array(count * r->coef_rows + 1, sizeof(double));
	r->start = mmq_array(count + 1, sizeof(uint64_t));
	for (size_t v = 0; v < count; v++) {
		if (!mmq_lines_next(&r->lines))
			return mmq_lines_damaged(&r->lines, "the file ends before all support vectors were there");
		for (size_t k = 0; k < r->coef_rows; k++)
			if (mmq_lines_number(&r->lines, &r->coef[v * r->coef_rows + k]) == -1)
				return -1;
		while ((word = mmq_lines_word(&r->lines)) != NULL)
			if (read_pair(r, v, word) == -1)
				return -1;
		r->start[v + 1] = r->stored;
		if (r->kernel == PRECOMPUTED && r->stored != v + 1)
			return mmq_lines_damaged(&r->lines, "a precomputed kernel wants one 0:row a line");
	}
	while (mmq_lines_next(&r->lines))
		if (!mmq_lines_is_over(&r->lines))
			return mmq_lines_damaged(&r->lines, "more support vectors than total_sv announces");
	r->cols = r->cols == 0 ? 1 : r->cols;
	return 0;
}

static void
put_vectors(const struct reader *r, struct mmq_part *part)
{
	size_t count = (size_t)r->vectors;
	mmq_part_put_int(part, "cols", (int64_t)r->cols);
	if (r->kernel == PRECOMPUTED) {
		mmq_part_put_vector(part, "vector_column", MMQ_U32, count, r->col);
		return;
	}
	if (count * r->cols > DENSE_ELEMENTS_MAX || r->stored * 100 < count * r->cols * SPARSE_BELOW_PERCENT || count == 0) {
		mmq_part_put_vector(part, "vector_start", MMQ_U64, count + 1, r->start);
		mmq_part_put_vector(part, "vector_col", MMQ_U32, r->stored, r->col);
		mmq_part_put_vector(part, "vector_value", MMQ_F64, r->stored, r->value);
		return;
	}
	double *dense = mmq_array(count * r->cols, sizeof(*dense));
	for (size_t v = 0; v < count; v++)
		for (uint64_t e = r->start[v]; e < r->start[v + 1]; e++)
			dense[v * r->cols + r->col[e]] = r->value[e];
	mmq_part_put_matrix(part, "support_vectors", MMQ_F64, count, r->cols, dense);
	free(dense);
}

/* Of two classes the engine's code 1 is the file's first, for which decision values are positive. */
static void
put_part(const struct reader *r, struct mmq_part *part, enum mmq_task task)
{
	size_t count = (size_t)r->vectors, pairs = pairs_of(r), classes = types[r->type].has_labels ? (size_t)r->classes : 0;
	double *coef = mmq_array(count * r->coef_rows + 1, sizeof(*coef)), *sigmoid = mmq_array(2 * pairs, sizeof(*sigmoid));
	uint32_t *class_start = mmq_array(classes + 1, sizeof(*class_start));
	for (size_t k = 0; k < r->coef_rows; k++)
		for (size_t v = 0; v < count; v++)
			coef[k * count + v] = r->coef[v * r->coef_rows + k];
	for (size_t c = 0; c < classes; c++)
		class_start[c + 1] = class_start[c] + (uint32_t)r->counts[c];
	mmq_part_put_text(part, "task", mmq_task_name(task));
	mmq_part_put_text(part, "formulation", types[r->type].formulation);
	mmq_part_put_text(part, "kernel", kernels[r->kernel][1]);
	mmq_part_put_double(part, "gamma", r->gamma);
	mmq_part_put_double(part, "coef0", r->coef0);
	mmq_part_put_int(part, "degree", r->degree);
	mmq_part_put_int(part, "classes", (int64_t)classes);
	put_vectors(r, part);
	mmq_part_put_matrix(part, "dual_coef", MMQ_F64, r->coef_rows, count, coef);
	mmq_part_put_vector(part, "rho", MMQ_F64, pairs, r->rho);
	mmq_part_put_vector(part, "class_start", MMQ_U32, classes + 1, class_start);
	for (size_t p = 0; r->a != NULL && r->b != NULL && p < pairs; p++) {
		sigmoid[2 * p] = r->a[p];
		sigmoid[2 * p + 1] = r->b[p];
	}
	if (classes > 0 && r->a != NULL)
		mmq_part_put_matrix(part, "sigmoid", MMQ_F64, pairs, 2, sigmoid);
	if (task == MMQ_REGRESSION && r->a != NULL && r->a[0] > 0.0)
		mmq_part_put_double(part, "sigma", r->a[0]);
	free(coef), free(sigmoid), free(class_start);
}

int
mmq_libsvm_model_read(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	struct reader r = { .degree = 3 };
	int result = mmq_lines_init(&r.lines, "LIBSVM", bytes, size, err);
	if (result == 0)
		result = read_head(&r) == -1 || read_vectors(&r) == -1 ? -1 : 0;
	if (result == 0) {
		converted->engine = "svm";
		converted->task = types[r.type].is_one_class ? MMQ_ONE_CLASS : !types[r.type].has_labels ? MMQ_REGRESSION : r.classes == 2 ? MMQ_BINARY :
		    MMQ_MULTICLASS;
		converted->positive = 0;
		converted->features_count = r.cols;
		converted->dtype = MMQ_F64;
		put_part(&r, &converted->part, converted->task);
		mmq_classes_fini(&converted->classes);
		converted->classes = r.labels;
		r.labels = (struct mmq_classes){ .count = 0 };
	}
	mmq_classes_fini(&r.labels);
	mmq_lines_fini(&r.lines);
	free(r.rho), free(r.a), free(r.b), free(r.counts), free(r.coef), free(r.start), free(r.col), free(r.value);
	return result;
}
