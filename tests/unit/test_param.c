/* test_param.c: what users may give an engine, and what they are told when they may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/param.h"
#include "mpack/writer.h"

static const struct mmq_param table[] = {
	{ "learning_rate", "eta shrinkage_rate", MMQ_P_NUMBER, "0.1", 0, 1, NULL, "Step.", 0, 0 },
	{ "max_iter", "n_iter", MMQ_P_INT, "200", 1, 1e9, NULL, "Epochs.", 0, 0 },
	{ "shuffle", NULL, MMQ_P_BOOL, "true", 0, 0, NULL, "Shuffle.", 0, 0 },
	{ "kernel", "t", MMQ_P_ENUM, "rbf", 0, 0, "rbf|linear|poly", "Kernel.", 0, 0 },
	{ "gamma", "g", MMQ_P_NUMBER_OR_ENUM, "scale", 0, 1e9, "scale|auto", "Width.", 0, 0 },
	{ "hidden_layer_sizes", NULL, MMQ_P_INTS, "100", 1, 65536, NULL, "Layers.", 0, 0 },
	{ "weights", NULL, MMQ_P_NUMBERS, "", 0, 10, NULL, "Weights.", 0, 0 },
	{ NULL, NULL, MMQ_P_BOOL, NULL, 0, 0, NULL, NULL, 0, 0 },
};

static int
parse(struct mmq_params **params, struct mmq_err *err, const char *a, const char *b)
{
	const char *settings[] = { a, b };
	return mmq_params_parse(params, table, settings, b != NULL ? 2 : 1, err);
}

static void
test_defaults_come_from_the_table(void **unused)
{
	(void)unused;
	struct mmq_params *params;
	struct mmq_err err;
	size_t count;
	assert_int_equal(mmq_params_read(&params, table, NULL, &err), 0);
	assert_true(mmq_params_number(params, "learning_rate") == 0.1);
	assert_int_equal(mmq_params_int(params, "max_iter"), 200);
	assert_true(mmq_params_number(params, "max_iter") == 200.0);
	assert_true(mmq_params_bool(params, "shuffle"));
	assert_string_equal(mmq_params_choice(params, "kernel"), "rbf");
	assert_false(mmq_params_is_number(params, "gamma"));
	assert_string_equal(mmq_params_choice(params, "gamma"), "scale");
	assert_true(mmq_params_list(params, "hidden_layer_sizes", &count)[0] == 100.0);
	assert_int_equal(count, 1);
	mmq_params_list(params, "weights", &count);
	assert_int_equal(count, 0);
	assert_false(mmq_params_is_set(params, "max_iter"));
	mmq_params_destroy(&params);
	assert_null(params);
	mmq_params_destroy(&params);
}

static void
test_text_settings_and_aliases(void **unused)
{
	(void)unused;
	struct mmq_params *params;
	struct mmq_err err;
	size_t count;
	assert_int_equal(parse(&params, &err, "eta=0.25", "hidden_layer_sizes=64,32"), 0);
	assert_true(mmq_params_number(params, "learning_rate") == 0.25);
	assert_true(mmq_params_is_set(params, "learning_rate"));
	const double *list = mmq_params_list(params, "hidden_layer_sizes", &count);
	assert_int_equal(count, 2);
	assert_true(list[0] == 64.0 && list[1] == 32.0);
	mmq_params_destroy(&params);
	assert_int_equal(parse(&params, &err, "gamma=0.5", "shuffle=false"), 0);
	assert_true(mmq_params_is_number(params, "gamma") && mmq_params_number(params, "gamma") == 0.5);
	assert_false(mmq_params_bool(params, "shuffle"));
	mmq_params_destroy(&params);
	assert_int_equal(parse(&params, &err, "max_iter=1e3", "g=auto"), 0);
	assert_int_equal(mmq_params_int(params, "max_iter"), 1000);
	assert_string_equal(mmq_params_choice(params, "gamma"), "auto");
	mmq_params_destroy(&params);
}

static void
refuse(const char *a, const char *b, const char *field, const char *got, const char *want)
{
	struct mmq_params *params;
	struct mmq_err err = { 0 };
	assert_int_equal(parse(&params, &err, a, b), -1);
	assert_null(params);
	assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	assert_string_equal(err.field, field);
	assert_non_null(strstr(err.got, got));
	assert_non_null(strstr(err.want, want));
}

static void
test_refusals_name_field_got_and_want(void **unused)
{
	(void)unused;
	refuse("learning_rate=2", NULL, "params.learning_rate", "2", "[0, 1]");
	refuse("eta=2", NULL, "params.eta", "2", "[0, 1]");
	refuse("learning_rate=nan", NULL, "params.learning_rate", "nan", "number");
	refuse("learning_rate=0.1x", NULL, "params.learning_rate", "0.1x", "number");
	refuse("learning_rate=", NULL, "params.learning_rate", "", "number");
	refuse("max_iter=1.5", NULL, "params.max_iter", "1.5", "integer");
	refuse("max_iter=0", NULL, "params.max_iter", "0", "[1, 1000000000]");
	refuse("shuffle=maybe", NULL, "params.shuffle", "maybe", "true or false");
	refuse("kernel=rbff", NULL, "params.kernel", "rbff", "rbf|linear|poly");
	refuse("kernel=rbf|linear", NULL, "params.kernel", "rbf|linear", "rbf|linear|poly");
	refuse("kernel=", NULL, "params.kernel", "", "rbf|linear|poly");
	refuse("gamma=-1", NULL, "params.gamma", "-1", "scale|auto or a number");
	refuse("hidden_layer_sizes=10 0", NULL, "params.hidden_layer_sizes", "0", "integers");
	refuse("learning_rate", NULL, "params", "learning_rate", "name=value");
}

static void
test_alias_and_name_together_are_refused(void **unused)
{
	(void)unused;
	refuse("learning_rate=0.1", "eta=0.1", "params.eta", "learning_rate", "one value");
	refuse("eta=0.1", "shrinkage_rate=0.1", "params.shrinkage_rate", "eta", "one value");
	refuse("max_iter=5", "max_iter=5", "params.max_iter", "max_iter", "one value");
}

static void
test_unknown_names_suggest_near_ones(void **unused)
{
	(void)unused;
	refuse("learning_rat=0.1", NULL, "params.learning_rat", "unknown", "learning_rate");
	refuse("Max_Iter=1", NULL, "params.Max_Iter", "unknown", "max_iter");
	refuse("shrinkagerate=1", NULL, "params.shrinkagerate", "unknown", "learning_rate");
	refuse("zzzzzzzz=1", NULL, "params.zzzzzzzz", "unknown", "one of learning_rate max_iter");
}

static void
test_map_is_read_and_written_back(void **unused)
{
	(void)unused;
	struct mmq_buf buf, again;
	struct mmq_reader reader;
	struct mmq_params *params;
	struct mmq_err err;
	size_t count;
	mmq_buf_init(&buf, 4096);
	mmq_buf_init(&again, 4096);
	mmq_put_map(&buf, 5);
	mmq_put_str(&buf, "eta");
	mmq_put_int(&buf, 1);
	mmq_put_str(&buf, "max_iter");
	mmq_put_double(&buf, 7.0);
	mmq_put_str(&buf, "gamma");
	mmq_put_str(&buf, "auto");
	mmq_put_str(&buf, "hidden_layer_sizes");
	mmq_put_array(&buf, 2);
	mmq_put_int(&buf, 8);
	mmq_put_int(&buf, 4);
	mmq_put_str(&buf, "shuffle");
	mmq_put_bool(&buf, false);
	mmq_reader_init(&reader, buf.bytes, buf.size);
	assert_int_equal(mmq_params_read(&params, table, &reader, &err), 0);
	assert_true(mmq_reader_is_done(&reader));
	for (int round = 0; round < 2; round++) {   /* once as given, once from what write gave */
		assert_true(mmq_params_number(params, "learning_rate") == 1.0);
		assert_int_equal(mmq_params_int(params, "max_iter"), 7);
		assert_string_equal(mmq_params_choice(params, "gamma"), "auto");
		assert_true(mmq_params_list(params, "hidden_layer_sizes", &count)[1] == 4.0);
		assert_int_equal(count, 2);
		assert_false(mmq_params_bool(params, "shuffle"));
		mmq_buf_reset(&again);
		mmq_params_write(params, &again);
		mmq_params_destroy(&params);
		mmq_reader_init(&reader, again.bytes, again.size);
		assert_int_equal(mmq_params_read(&params, table, &reader, &err), 0);
		assert_true(mmq_reader_is_done(&reader));
	}
	mmq_params_destroy(&params);
	mmq_buf_fini(&buf);
	mmq_buf_fini(&again);
}

static void
test_map_of_wrong_types_is_refused_at_every_cut(void **unused)
{
	(void)unused;
	struct mmq_buf buf;
	struct mmq_reader reader;
	struct mmq_params *params;
	struct mmq_err err;
	mmq_buf_init(&buf, 4096);
	mmq_put_map(&buf, 1);
	mmq_put_str(&buf, "learning_rate");
	mmq_put_str(&buf, "0.1");   /* text is no number on the wire */
	mmq_reader_init(&reader, buf.bytes, buf.size);
	assert_int_equal(mmq_params_read(&params, table, &reader, &err), -1);
	assert_string_equal(err.field, "params.learning_rate");
	mmq_buf_reset(&buf);
	mmq_put_map(&buf, 1);
	mmq_put_str(&buf, "shuffle");
	mmq_put_nil(&buf);
	mmq_reader_init(&reader, buf.bytes, buf.size);
	assert_int_equal(mmq_params_read(&params, table, &reader, &err), -1);
	assert_string_equal(err.field, "params.shuffle");
	mmq_buf_reset(&buf);
	mmq_put_map(&buf, 1);
	mmq_put_str(&buf, "hidden_layer_sizes");
	mmq_put_array(&buf, 3);
	for (int k = 0; k < 3; k++)
		mmq_put_int(&buf, 100 + k);
	for (size_t size = 0; size < buf.size; size++) {
		mmq_reader_init(&reader, buf.bytes, size);
		assert_int_equal(mmq_params_read(&params, table, &reader, &err), -1);
		assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	}
	mmq_buf_reset(&buf);
	mmq_put_map(&buf, 1);
	mmq_put_str(&buf, "hidden_layer_sizes");
	mmq_put_array(&buf, 65);
	for (int k = 0; k < 65; k++)
		mmq_put_int(&buf, 1);
	mmq_reader_init(&reader, buf.bytes, buf.size);
	assert_int_equal(mmq_params_read(&params, table, &reader, &err), -1);
	assert_non_null(strstr(err.got, "more than 64"));
	mmq_buf_fini(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_come_from_the_table),
		cmocka_unit_test(test_text_settings_and_aliases),
		cmocka_unit_test(test_refusals_name_field_got_and_want),
		cmocka_unit_test(test_alias_and_name_together_are_refused),
		cmocka_unit_test(test_unknown_names_suggest_near_ones),
		cmocka_unit_test(test_map_is_read_and_written_back),
		cmocka_unit_test(test_map_of_wrong_types_is_refused_at_every_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
