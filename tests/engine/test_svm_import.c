/* test_svm_import.c: models that LIBSVM and LIBLINEAR wrote answer as they did, row by row, also after we wrote them again; damaged files are refused.
 * tests/data/models/README.md says where the files come from.
 *
 * MMQ_WRITTEN names a folder: files that we write are left there, for tests/data/models/make_svm.py to load into the libraries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/convert.h"
#include "math/rng.h"
#include "tests/engine/model_file.h"
#include "util/mem.h"

static const char *const models[] = { "heart_csvc_rbf", "iris_csvc_rbf_prob", "diabetes_nusvr_rbf", "breast_oneclass_rbf", "breast_l2r_lr", "svm_csvc_linear",
	"svm_csvc_poly", "svm_csvc_rbf_prob", "svm_csvc_rbf_prob2", "svm_nusvc_sigmoid", "svm_oneclass_rbf", "svm_esvr_rbf_prob", "svm_nusvr_poly",
	"svm_csvc_precomputed", "svm_esvr_precomputed", "linear_s0", "linear_s1", "linear_s2", "linear_s3", "linear_s4", "linear_s5", "linear_s6", "linear_s7",
	"linear_s11", "linear_s12", "linear_s13", "linear_s21", "linear_s0_two", "linear_s3_two", "linear_s4_two" };
enum { MODELS = sizeof(models) / sizeof(models[0]), WANTS_MAX = 16 };

static char *
read_beside(const char *name, const char *suffix, size_t *size_out)
{
	char file[128];
	snprintf(file, sizeof(file), "%s%s", name, suffix);
	return model_file_read(file, size_out);
}

/* A CSV beside a model: what goes in, and the library's answers by name. */
struct rows {
	size_t count, cols, wants;
	double *x, *want;            /* (count, cols), (count, wants) */
	char names[WANTS_MAX][32];
};

static void
read_rows(struct rows *rows, const char *name, size_t cols)
{
	size_t size, lines = 0, fields = 0;
	char *text = read_beside(name, ".csv", &size), *line, *cell, *cells, *save = NULL;
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	*rows = (struct rows){ .cols = cols, .x = mmq_array(lines * cols, sizeof(double)), .want = mmq_array(lines * WANTS_MAX, sizeof(double)) };
	line = strtok_r(text, "\r\n", &save);
	for (char *at = line; (cell = strtok_r(at, ",", &cells)) != NULL; at = NULL) {
		fields += strncmp(cell, "x.", 2) == 0;
		if (strncmp(cell, "p.", 2) != 0)
			continue;
		assert_true(rows->wants < WANTS_MAX);
		snprintf(rows->names[rows->wants++], sizeof(rows->names[0]), "%s", cell + 2);
	}
	for (; (line = strtok_r(NULL, "\r\n", &save)) != NULL; rows->count++) {
		for (size_t k = 0; k < fields + rows->wants; k++) {
			char *end;
			double value = strtod(line, &end);
			assert_true(end != line);
			line = end + (*end == ',');
			if (k < fields && k < cols)      /* a column that no vector uses is not in the model */
				rows->x[rows->count * cols + k] = value;
			else if (k >= fields)
				rows->want[rows->count * rows->wants + k - fields] = value;
		}
	}
	free(text);
}

/* Index of the class with this label among the engine's codes. */
static size_t
code_of(const struct mmq_converted *model, long label)
{
	size_t k = 0;
	while (k < model->classes.count && model->classes.ints[k] != label)
		k++;
	assert_true(k < model->classes.count);
	return model->task == MMQ_BINARY ? k == model->positive : k;
}

/* The label of one row's scores as both libraries choose it: a vote of the pairs, or the largest. */
static double
label_of(const struct mmq_converted *model, const double *score)
{
	size_t classes = model->classes.count, best = 0;
	double votes[8] = { 0 };
	if (model->task == MMQ_REGRESSION)
		return score[0];
	if (model->task == MMQ_ONE_CLASS)
		return score[0] > 0 ? 1 : -1;
	if (model->task == MMQ_BINARY)
		return (double)model->classes.ints[score[0] > 0 ? model->positive : 1 - model->positive];
	for (size_t a = 0, p = 0; a < classes; a++) {
		if (strcmp(model->engine, "linear") == 0)
			votes[a] = score[a];
		for (size_t b = a + 1; strcmp(model->engine, "svm") == 0 && b < classes; b++, p++)
			votes[score[p] > 0 ? a : b]++;
	}
	for (size_t k = 1; k < classes; k++)
		best = votes[k] > votes[best] ? k : best;
	return (double)model->classes.ints[best];
}

/* Our answer to the library's column `name`; the k-th decision value is the k-th score, but MCSVM_CS has two for two classes. */
static double
answer(const struct mmq_converted *model, const char *name, size_t *decision, const double *score, const double *probability)
{
	if (strcmp(name, "pred") == 0)
		return label_of(model, score);
	if (strncmp(name, "prob_", 5) == 0)
		return probability[code_of(model, strtol(name + 5, NULL, 10))];
	if (strcmp(name, "pred_b1") == 0) {
		size_t best = 0;
		for (size_t k = 1; k < model->classes.count; k++)
			best = probability[k] > probability[best] ? k : best;
		return (double)model->classes.ints[model->task != MMQ_BINARY ? best : best == 1 ? model->positive : 1 - model->positive];
	}
	return score[(*decision)++];
}

static void
check_answers(const char *name, const struct mmq_converted *model, bool labels_only)
{
	const struct mmq_engine *engine = mmq_engine_find(model->engine);
	struct mmq_err err;
	struct rows rows;
	void *state;
	if (engine->open(&state, &model->part, &err) == -1)
		fail_msg("%s: %s", name, err.message);
	read_rows(&rows, name, model->features_count);
	size_t cols = engine->score_cols(state), classes = model->classes.count;
	bool has_probability = classes > 0 && (engine->gives(state) & MMQ_OUT_PROBABILITY) != 0, two_decisions = strcmp(name, "linear_s4_two") == 0;
	double *score = mmq_array(rows.count * cols, sizeof(*score)), *probability = mmq_array(rows.count * classes + 1, sizeof(*probability));
	struct mmq_outputs out = { .wanted = MMQ_OUT_SCORE | (has_probability ? MMQ_OUT_PROBABILITY : 0u), .score = score, .score_cols = cols,
		.probability = probability };
	const struct mmq_batch x = { .rows = rows.count, .cols = rows.cols, .dtype = MMQ_F64, .dense = rows.x, .stride = rows.cols };
	void *scratch = mmq_aligned(engine->scratch_bytes(state, rows.count, out.wanted) + 64);
	assert_int_equal(engine->predict(state, &x, &out, scratch, &err), 0);
	assert_true(rows.count >= 12);
	for (size_t r = 0; r < rows.count; r++) {
		for (size_t k = 0, decision = 0; k < rows.wants; k++) {
			bool is_label = strncmp(rows.names[k], "pred", 4) == 0;
			if ((labels_only && !is_label) || (two_decisions && !is_label) || (strncmp(rows.names[k], "p", 1) == 0 && !is_label && !has_probability))
				continue;
			if (strcmp(rows.names[k], "pred_b1") == 0 && !has_probability)
				continue;
			double want = rows.want[r * rows.wants + k], got = answer(model, rows.names[k], &decision, score + r * cols, probability + r * classes);
			if (!(fabs(got - want) <= 1e-9 * fabs(want) + 1e-12))
				fail_msg("%s row %zu: %s is %.17g, the library says %.17g", name, r, rows.names[k], got, want);
		}
	}
	free(score), free(probability), free(scratch), free(rows.x), free(rows.want);
	engine->destroy(&state);
}

static void
read_model(const char *name, struct mmq_converted *model)
{
	size_t size;
	struct mmq_err err;
	char *bytes = read_beside(name, ".model", &size);
	const struct mmq_converter *converter = mmq_converter_recognise((const uint8_t *)bytes, size, &err);
	assert_non_null(converter);
	mmq_converted_init(model);
	if (converter->read(model, (const uint8_t *)bytes, size, &err) == -1)
		fail_msg("%s: %s", name, err.message);
	assert_string_equal(converter->engine, model->engine);
	free(bytes);
}

static void
test_models_answer_as_their_library(void **unused)
{
	(void)unused;
	for (size_t m = 0; m < MODELS; m++) {
		struct mmq_converted model;
		read_model(models[m], &model);
		check_answers(models[m], &model, false);
		mmq_converted_fini(&model);
	}
}

/* Of the written files these were loaded into their library, which gave the same labels (make_svm.py): the bytes are to stay so. */
static void
compare_recorded(const char *name, const struct mmq_buf *text)
{
	static const char *const recorded[] = { "written_linear_s0", "written_linear_s13", "written_svm_csvc_linear" };
	for (size_t k = 0; k < sizeof(recorded) / sizeof(recorded[0]); k++) {
		size_t size;
		if (strcmp(recorded[k] + strlen("written_"), name) != 0)
			continue;
		char *bytes = read_beside(recorded[k], ".model", &size);
		assert_int_equal(text->size, size);
		assert_memory_equal(text->bytes, bytes, size);
		free(bytes);
	}
}

static void
leave(const char *name, const struct mmq_buf *text)
{
	const char *folder = getenv("MMQ_WRITTEN");
	char path[256];
	if (folder == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s.model", folder, name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text->bytes, 1, text->size, file), text->size);
	fclose(file);
}

static void
write_and_read(const char *name, struct mmq_converted *model, struct mmq_converted *again)
{
	bool is_scaled = model->scale != NULL;
	struct mmq_err err;
	struct mmq_buf text;
	const struct mmq_converter *converter = mmq_converter_of_engine(model->engine);
	assert_non_null(converter);
	mmq_buf_init(&text, 1 << 24);
	if (converter->write(model, &text, &err) == -1)
		fail_msg("%s: %s", name, err.message);
	leave(name, &text);
	if (is_scaled)
		compare_recorded(name, &text);
	mmq_converted_init(again);
	assert_true(converter->is_it(text.bytes, text.size));
	if (converter->read(again, text.bytes, text.size, &err) == -1)
		fail_msg("%s written: %s", name, err.message);
	mmq_buf_fini(&text);
}

static void
test_written_models_answer_the_same(void **unused)
{
	(void)unused;
	for (size_t m = 0; m < MODELS; m++) {
		struct mmq_converted model, again;
		read_model(models[m], &model);
		write_and_read(models[m], &model, &again);
		assert_int_equal(again.task, model.task);
		check_answers(models[m], &again, false);
		mmq_converted_fini(&model);
		mmq_converted_fini(&again);
	}
}

/* A model of ours that standardises its inputs (and target) is written for raw ones: undoing the scaling in the weights beforehand, the answers stay. */
static void
test_scaling_is_folded_into_linear_models(void **unused)
{
	static const char *const names[] = { "svm_csvc_linear", "linear_s0", "linear_s13", "linear_s0_two", "linear_s21" };
	(void)unused;
	for (size_t m = 0; m < sizeof(names) / sizeof(names[0]); m++) {
		struct mmq_converted model, again;
		read_model(names[m], &model);
		bool is_svm = strcmp(model.engine, "svm") == 0;
		const struct mmq_tensor *weights = mmq_part_find_tensor(&model.part, is_svm ? "support_vectors" : "coef");
		const struct mmq_tensor *shift = mmq_part_find_tensor(&model.part, is_svm ? "rho" : "intercept"), *coef = mmq_part_find_tensor(&model.part, "dual_coef");
		assert_non_null(weights);
		size_t cols = weights->shape[1];
		double *w = (double *)weights->data, *b = (double *)shift->data;     /* of a part that owns them */
		model.center = mmq_array(cols, sizeof(double));
		model.scale = mmq_array(cols, sizeof(double));
		if (model.task == MMQ_REGRESSION) {
			model.target_mean = 3.0;
			model.target_scale = 0.25;
		}
		for (size_t j = 0; j < cols; j++) {
			model.center[j] = 0.5 - (double)j;
			model.scale[j] = 2.0 / (double)(j + 1);
		}
		for (size_t k = 0; k < weights->shape[0]; k++) {
			for (size_t j = 0; j < cols; j++) {
				double part = w[k * cols + j] * model.center[j];
				if (is_svm)
					b[0] -= ((const double *)coef->data)[k] * part;
				else
					b[k] += part;
				w[k * cols + j] /= model.scale[j] * model.target_scale;
			}
			if (model.task == MMQ_REGRESSION)
				b[k] = (b[k] - model.target_mean) / model.target_scale;
		}
		write_and_read(names[m], &model, &again);
		check_answers(names[m], &again, true);
		mmq_converted_fini(&model);
		mmq_converted_fini(&again);
	}
}

static void
test_what_a_format_cannot_say_is_refused(void **unused)
{
	struct mmq_converted model;
	struct mmq_buf text;
	struct mmq_err err;
	(void)unused;
	mmq_buf_init(&text, 1 << 20);
	read_model("svm_csvc_rbf_prob", &model);
	model.scale = mmq_array(model.features_count, sizeof(double));
	assert_int_equal(mmq_converter_of_engine("svm")->write(&model, &text, &err), -1);
	assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	assert_non_null(strstr(err.message, "scaling"));
	mmq_converted_fini(&model);
	read_model("linear_s0", &model);
	mmq_classes_fini(&model.classes);
	model.classes = (struct mmq_classes){ .type = MMQ_LABEL_TEXT, .count = 3, .texts = mmq_array(3, sizeof(char *)) };
	for (size_t k = 0; k < 3; k++)
		model.classes.texts[k] = mmq_strdup(k == 0 ? "1" : k == 1 ? "2" : "setosa");
	mmq_buf_reset(&text);
	assert_int_equal(mmq_converter_of_engine("linear")->write(&model, &text, &err), -1);
	assert_non_null(strstr(err.message, "setosa"));
	mmq_converted_fini(&model);
	mmq_buf_fini(&text);
}

/* A refusal names its line; an answer opens in its engine, or that refuses it. */
static void
try_bytes(const uint8_t *bytes, size_t size)
{
	struct mmq_converted model;
	struct mmq_err err = { .code = MMQ_OK };
	void *state = NULL;
	const struct mmq_converter *converter = mmq_converter_recognise(bytes, size, &err);
	if (converter == NULL)
		return;
	mmq_converted_init(&model);
	if (converter->read(&model, bytes, size, &err) == -1)
		assert_true(err.code == MMQ_DATA_LOSS || err.code == MMQ_FAILED_PRECONDITION || err.code == MMQ_RESOURCE_EXHAUSTED);
	else if (mmq_engine_find(model.engine)->open(&state, &model.part, &err) == 0)
		mmq_engine_find(model.engine)->destroy(&state);
	mmq_converted_fini(&model);
}

static void
test_damaged_models_do_no_harm(void **unused)
{
	(void)unused;
	static const char *const names[] = { "svm_csvc_rbf_prob", "svm_csvc_precomputed", "svm_oneclass_rbf", "linear_s0", "linear_s21" };
	static const char numbers[] = "0123456789-+. :e\n";
	for (size_t m = 0; m < sizeof(names) / sizeof(names[0]); m++) {
		size_t size;
		char *bytes = read_beside(names[m], ".model", &size), *copy = mmq_alloc(size + 1);
		struct mmq_rng rng = mmq_rng_stream(9, m, 0);
		for (size_t cut = 0; cut < size; cut += 1 + cut / 64)
			try_bytes((const uint8_t *)bytes, cut);
		for (size_t at = 0; at < size; at++) {
			memcpy(copy, bytes, size);
			copy[at] = (char)(bytes[at] ^ 1 << mmq_rng_below(&rng, 8));
			try_bytes((const uint8_t *)copy, size);
			copy[at] = numbers[mmq_rng_below(&rng, sizeof(numbers) - 1)];
			try_bytes((const uint8_t *)copy, size);
		}
		free(bytes);
		free(copy);
	}
}

static void
test_hostile_files_are_refused_with_their_line(void **unused)
{
	static const struct { const char *text, *message; } files[] = {
		{ "svm_type c_svc\nkernel_type rbf\ngamma 1\nnr_class 2\ntotal_sv 4000000000\nrho 0\nlabel 1 -1\nnr_sv 2000000000 2000000000\nSV\n", "too short" },
		{ "svm_type c_svc\nkernel_type rbf\nnr_class 9999\ntotal_sv 1\nrho 0 1\n", "line 5: fewer numbers" },
		{ "svm_type c_svc\nkernel_type cubic\n", "line 2: a kernel" },
		{ "svm_type c_svc\nkernel_type rbf\nnr_class 2\ntotal_sv 1\nrho 0\nlabel 1 1\n", "line 6: two classes" },
		{ "svm_type epsilon_svr\nkernel_type linear\nnr_class 2\ntotal_sv 1\nrho 0\nSV\n1 2:1 1:1\n", "line 7: indices do not ascend" },
		{ "svm_type epsilon_svr\nkernel_type linear\nnr_class 2\ntotal_sv 1\nrho 0\nSV\n1 99999999999:1\n", "line 7: an index" },
		{ "svm_type epsilon_svr\nkernel_type linear\nnr_class 2\ntotal_sv 1\nrho nan\n", "line 5: a number" },
		{ "svm_type epsilon_svr\nkernel_type precomputed\nnr_class 2\ntotal_sv 1\nrho 0\nSV\n1 0:1e30\n", "line 7: a precomputed" },
		{ "svm_type epsilon_svr\nkernel_type linear\nkernel_type linear\n", "line 3: a key stands twice" },
		{ "solver_type L2R_LR\nnr_class 2\nlabel 1 2\nnr_feature 60000000\nbias -1\nw\n1\n", "too short" },
		{ "solver_type L2R_LR\nnr_class 2\nlabel 1 2\nnr_feature 2\nbias 1\nw\n1\n2\n", "line 8: the file ends" },
		{ "solver_type L2R_LR\nnr_class 2\nlabel 1 2\nnr_feature 1\nbias -1\nw\n1 2\n", "line 7: more numbers" },
		{ "solver_type L9R_LR\n", "line 1: a solver type" },
		{ "solver_type L2R_LR\nnr_class 2\nnr_feature 1\nbias -1\nw\n1\n", "line 5: labels" },
		{ "solver_type L2R_LR\nnr_class 1\nlabel 1\nnr_feature 1\nbias -1\nw\n1\n", "one class" },
	};
	(void)unused;
	for (size_t k = 0; k < sizeof(files) / sizeof(files[0]); k++) {
		struct mmq_converted model;
		struct mmq_err err;
		const struct mmq_converter *converter = mmq_converter_recognise((const uint8_t *)files[k].text, strlen(files[k].text), &err);
		assert_non_null(converter);
		mmq_converted_init(&model);
		assert_int_equal(converter->read(&model, (const uint8_t *)files[k].text, strlen(files[k].text), &err), -1);
		if (strstr(err.message, files[k].message) == NULL)
			fail_msg("file %zu: '%s' does not hold '%s'", k, err.message, files[k].message);
		mmq_converted_fini(&model);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_models_answer_as_their_library),
		cmocka_unit_test(test_written_models_answer_the_same),
		cmocka_unit_test(test_scaling_is_folded_into_linear_models),
		cmocka_unit_test(test_what_a_format_cannot_say_is_refused),
		cmocka_unit_test(test_damaged_models_do_no_harm),
		cmocka_unit_test(test_hostile_files_are_refused_with_their_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
