/* convert.c: the table of formats. */
#include "convert/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/liblinear.h"
#include "convert/libsvm.h"
#include "convert/lightgbm.h"
#include "convert/xgboost.h"

static const struct mmq_converter converters[] = {
	{ "liblinear", "LIBLINEAR", "linear", mmq_liblinear_is_it, mmq_liblinear_read, mmq_liblinear_write },
	{ "libsvm", "LIBSVM", "svm", mmq_libsvm_model_is_it, mmq_libsvm_model_read, mmq_libsvm_model_write },
	{ "lightgbm", "LightGBM", "tree", mmq_lightgbm_is_it, mmq_lightgbm_convert, mmq_lightgbm_write },
	{ "xgboost", "XGBoost", "tree", mmq_xgboost_is_it, mmq_xgboost_convert, NULL },
};
enum { CONVERTERS = sizeof(converters) / sizeof(converters[0]) };

const struct mmq_converter *
mmq_converter_list(size_t *count_out)
{
	*count_out = CONVERTERS;
	return converters;
}

const struct mmq_converter *
mmq_converter_find(const char *name, size_t size)
{
	for (size_t i = 0; i < CONVERTERS; i++)
		if (strlen(converters[i].name) == size && memcmp(converters[i].name, name, size) == 0)
			return &converters[i];
	return NULL;
}

int
mmq_converter_refuse(const char *name, size_t size, struct mmq_err *err)
{
	char known[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < CONVERTERS && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i > 0 ? ", " : "one of ", converters[i].name);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "format", known, "'%.*s'", (int)(size < 64 ? size : 64), name);
}

const struct mmq_converter *
mmq_converter_recognise(const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	for (size_t i = 0; i < CONVERTERS; i++)
		if (converters[i].is_it(bytes, size))
			return &converters[i];
	mmq_err_value(err, MMQ_INVALID_ARGUMENT, "file", "a model of LightGBM (text), XGBoost (JSON, UBJSON), LIBSVM or LIBLINEAR", "bytes that look like none of them");
	return NULL;
}

const struct mmq_converter *
mmq_converter_of_engine(const char *engine)
{
	for (size_t i = 0; i < CONVERTERS; i++)
		if (converters[i].write != NULL && strcmp(converters[i].engine, engine) == 0)
			return &converters[i];
	return NULL;
}

void
mmq_converted_init(struct mmq_converted *converted)
{
	*converted = (struct mmq_converted){ .dtype = MMQ_F64, .target_scale = 1 };
	mmq_part_init(&converted->part, true);
}

bool
mmq_converted_is_scaled(const struct mmq_converted *converted)
{
	for (size_t f = 0; f < converted->features_count; f++)
		if ((converted->center != NULL && converted->center[f] != 0.0) || (converted->scale != NULL && converted->scale[f] != 1.0))
			return true;
	return false;
}

void
mmq_converted_fini(struct mmq_converted *converted)
{
	for (size_t f = 0; f < converted->features_count; f++) {
		for (size_t k = 0; converted->values != NULL && converted->values[f] != NULL && k < converted->values_count[f]; k++)
			free(converted->values[f][k]);
		if (converted->values != NULL)
			free(converted->values[f]);
		if (converted->names != NULL)
			free(converted->names[f]);
	}
	free(converted->names);
	free(converted->is_category);
	free(converted->values);
	free(converted->values_count);
	free(converted->center);
	free(converted->scale);
	mmq_classes_fini(&converted->classes);
	mmq_part_fini(&converted->part);
	mmq_converted_init(converted);
}
