/* model.c: a model's life: opening, saving, what it tells of itself. Fitting is fit.c, predicting predict.c. */
#include "model/model_inner.h"

#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "util/mem.h"

/* Engine, preparation and classes come from different parts of a file: nothing but this says that they belong together. */
static int
check_shape(const struct mmq_model *model, struct mmq_err *err)
{
	struct mmq_state_shape shape;
	size_t cols = mmq_check_feature_cols(model->features, model->features_count), codes_cols = 0;

	for (size_t i = 0; i < model->features_count; i++)
		codes_cols += model->features[i].kind == MMQ_CATEGORY;
	model->engine->shape(model->state, &shape);
	if (shape.cols != cols || shape.codes_cols != codes_cols || (shape.features != 0 && shape.features != model->features_count))
		return mmq_err_set(err, MMQ_DATA_LOSS, "model: the engine takes %zu columns and %zu codes, its preparation gives %zu and %zu", shape.cols,
		    shape.codes_cols, cols, codes_cols);
	if (shape.classes != mmq_decide_engine_classes(&model->decide))
		return mmq_err_set(err, MMQ_DATA_LOSS, "model: the engine knows %u classes, its labels are %zu", shape.classes,
		    mmq_decide_engine_classes(&model->decide));
	return 0;
}

int
mmq_model_complete(struct mmq_model *model, struct mmq_err *err)
{
	const struct mmq_engine *engine = model->engine;
	const struct mmq_decide *decide = &model->decide;
	unsigned gives = engine->gives != NULL ? engine->gives(model->state) : engine->outputs;
	size_t classes = decide->classes.count;

	model->features = mmq_prepare_features(model->prepare, &model->features_count);
	if (check_shape(model, err) == -1)
		return -1;
	model->outputs = gives & (MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | MMQ_OUT_CONTRIBUTION | MMQ_OUT_LEAF);
	if (mmq_decide_engine_classes(decide) == 0)
		model->outputs &= ~(unsigned)MMQ_OUT_PROBABILITY;
	if (model->calibrate.kind != MMQ_CALIBRATE_NONE)
		model->outputs |= MMQ_OUT_PROBABILITY;
	model->score_cols = engine->score_cols(model->state);
	model->leaf_cols = engine->leaf_cols != NULL ? engine->leaf_cols(model->state) : 0;
	if (model->leaf_cols == 0)
		model->outputs &= ~(unsigned)MMQ_OUT_LEAF;
	model->columns = model->schema.sparse_cols > 0 ? model->features_count : model->schema.fields_count;
	size_t want = decide->task != MMQ_MULTICLASS ? 1 : decide->pairwise ? classes * (classes - 1) / 2 : classes;
	if (model->score_cols != want)
		return mmq_err_set(err, MMQ_DATA_LOSS, "model: the engine gives %zu scores per row, its task wants %zu", model->score_cols, want);
	for (size_t i = 0; i < model->features_count && model->schema.sparse_cols == 0; i++)
		if (model->features[i].source >= model->schema.fields_count)
			return mmq_err_set(err, MMQ_DATA_LOSS, "model: feature %zu comes from column %u of %zu", i, model->features[i].source,
			    model->schema.fields_count);
	model->contribution_method = engine->contribution_method != NULL ? engine->contribution_method(model->state) : NULL;
	if (model->contribution_method == NULL)
		model->outputs &= ~(unsigned)MMQ_OUT_CONTRIBUTION;
	model->is_sampled = model->contribution_method != NULL && strncmp(model->contribution_method, "sampled", 7) == 0;
	model->contribution_column = mmq_array(model->features_count, sizeof(*model->contribution_column));
	size_t at = 0;
	for (int is_category = 0; is_category < 2; is_category++)
		for (size_t i = 0; i < model->features_count; i++)
			if ((model->features[i].kind == MMQ_CATEGORY) == is_category)
				model->contribution_column[at++] = model->schema.sparse_cols > 0 ? (uint32_t)i : model->features[i].source;
	model->column_names = mmq_array(model->columns, sizeof(*model->column_names));
	for (size_t i = 0; i < model->columns; i++)
		model->column_names[i] = model->schema.sparse_cols > 0 ? model->features[i].name : model->schema.fields[i].name;
	return 0;
}

static int
open_parts(struct mmq_model *model, struct mmq_err *err)
{
	static const char *const kinds[] = { "schema", "prepare", "engine", "decide" };
	const struct mmq_container_part *parts[4];

	for (size_t i = 0; i < 4; i++) {
		parts[i] = mmq_container_find(model->container, kinds[i]);
		if (parts[i] == NULL)
			return mmq_err_set(err, MMQ_DATA_LOSS, "model file has no part of kind '%s'", kinds[i]);
		if (parts[i]->version != 1)
			return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "model file: part '%s' has version %u, want 1", kinds[i], parts[i]->version);
	}
	model->engine = mmq_engine_find(parts[2]->name);
	if (model->engine == NULL)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "model file needs engine '%s', which this version does not have", parts[2]->name);
	if (mmq_schema_open(&model->schema, parts[0]->part, err) == -1 ||
	    mmq_prepare_open(&model->prepare, &model->schema, parts[1]->part, err) == -1 ||
	    mmq_decide_open(&model->decide, parts[3]->part, err) == -1 || model->engine->open(&model->state, parts[2]->part, err) == -1)
		return -1;
	const struct mmq_container_part *calibrate = mmq_container_find(model->container, "calibrate");
	if (calibrate != NULL && calibrate->version != 1)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "model file: part 'calibrate' has version %u, want 1", calibrate->version);
	if (calibrate != NULL && mmq_calibrate_open(&model->calibrate, &model->decide, calibrate->part, err) == -1)
		return -1;
	return mmq_model_complete(model, err);
}

int
mmq_model_open(struct mmq_model **model_out, int fd, struct mmq_err *err)
{
	struct mmq_model *model = mmq_alloc(sizeof(*model));

	mmq_schema_init(&model->schema);
	*model_out = NULL;
	if (mmq_container_open(&model->container, fd, true, err) == -1 || open_parts(model, err) == -1) {
		mmq_model_destroy(&model);
		return -1;
	}
	*model_out = model;
	return 0;
}

void
mmq_model_destroy(struct mmq_model **model)
{
	if (*model == NULL)
		return;
	/* The state and the preparation borrow from the mapping: it goes last. */
	if ((*model)->state != NULL)
		(*model)->engine->destroy(&(*model)->state);
	mmq_prepare_destroy(&(*model)->prepare);
	mmq_decide_fini(&(*model)->decide);
	mmq_calibrate_fini(&(*model)->calibrate);
	mmq_schema_fini(&(*model)->schema);
	free((*model)->column_names);
	free((*model)->contribution_column);
	mmq_container_close(&(*model)->container);
	free(*model);
	*model = NULL;
}

void
mmq_model_parts_init(struct mmq_model_parts *parts)
{
	mmq_part_init(&parts->schema, true);
	mmq_part_init(&parts->prepare, true);
	mmq_part_init(&parts->decide, true);
	mmq_part_init(&parts->calibrate, true);
}

void
mmq_model_parts_fini(struct mmq_model_parts *parts)
{
	mmq_part_fini(&parts->schema);
	mmq_part_fini(&parts->prepare);
	mmq_part_fini(&parts->decide);
	mmq_part_fini(&parts->calibrate);
}

int
mmq_model_parts_write(const struct mmq_model_parts *parts, int fd, struct mmq_err *err)
{
	struct mmq_container_part entries[] = {
		{ .id = "schema", .kind = "schema", .name = "columns", .version = 1, .part = &parts->schema },
		{ .id = "prepare", .kind = "prepare", .name = "auto", .version = 1, .inputs_count = 1, .inputs = { "schema" }, .part = &parts->prepare },
		{ .id = "engine", .kind = "engine", .version = 1, .inputs_count = 1, .inputs = { "prepare" }, .part = parts->engine_part },
		{ .id = "calibrate", .kind = "calibrate", .name = "curves", .version = 1, .inputs_count = 1, .inputs = { "engine" }, .part = &parts->calibrate },
		{ .id = "decide", .kind = "decide", .name = "decide", .version = 1, .inputs_count = 1, .inputs = { "engine" }, .part = &parts->decide },
	};
	size_t count = sizeof(entries) / sizeof(entries[0]);

	strncpy(entries[2].name, parts->engine, MMQ_PART_KEY_MAX);
	if (parts->has_calibrate)
		strncpy(entries[4].inputs[0], "calibrate", MMQ_PART_KEY_MAX);
	else
		entries[3] = entries[--count];
	return mmq_container_write(fd, entries, count, err);
}

int
mmq_model_save_engine(const struct mmq_model *model, struct mmq_part *out, struct mmq_err *err)
{
	return model->engine->save(model->state, out, err);
}

int
mmq_model_save(const struct mmq_model *model, int fd, struct mmq_err *err)
{
	struct mmq_part engine;
	struct mmq_model_parts parts = { .engine = model->engine->name, .engine_part = &engine };
	int result = -1;

	mmq_part_init(&engine, true);
	mmq_model_parts_init(&parts);
	mmq_schema_save(&model->schema, &parts.schema);
	mmq_decide_save(&model->decide, &parts.decide);
	parts.has_calibrate = model->calibrate.kind != MMQ_CALIBRATE_NONE;
	if (parts.has_calibrate)
		mmq_calibrate_save(&model->calibrate, &parts.calibrate);
	if (mmq_prepare_save(model->prepare, &parts.prepare, err) == 0 && mmq_model_save_engine(model, &engine, err) == 0)
		result = mmq_model_parts_write(&parts, fd, err);
	mmq_model_parts_fini(&parts);
	mmq_part_fini(&engine);
	return result;
}

int
mmq_model_view(const struct mmq_schema *features, const struct mmq_frame *frame, struct mmq_frame *view_out, struct mmq_err *err)
{
	mmq_frame_init(view_out);
	view_out->rows = frame->rows;
	if (features->sparse_cols > 0) {
		if (frame->sparse.row_start == NULL)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "data", "sparse rows, as the model was trained on", "dense columns");
		view_out->sparse = frame->sparse;
	}
	view_out->columns = mmq_arena_get(&view_out->arena, features->fields_count * sizeof(*view_out->columns));
	for (size_t i = 0; i < features->fields_count; i++) {
		const struct mmq_column *column = mmq_frame_find(frame, features->fields[i].name);
		if (column == NULL) {
			mmq_frame_fini(view_out);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "data", features->fields[i].name, "no such column");
		}
		view_out->columns[view_out->columns_count++] = *column;
	}
	return 0;
}

const struct mmq_engine *
mmq_model_engine(const struct mmq_model *model)
{
	return model->engine;
}

const struct mmq_schema *
mmq_model_schema(const struct mmq_model *model)
{
	return &model->schema;
}

const struct mmq_decide *
mmq_model_decide(const struct mmq_model *model)
{
	return &model->decide;
}

const struct mmq_prepare *
mmq_model_preparation(const struct mmq_model *model)
{
	return model->prepare;
}

int
mmq_model_calibrate(struct mmq_model *model, enum mmq_calibration kind, const double *inputs, const double *y, const float *weight, size_t rows,
    struct mmq_err *err)
{
	double *code = mmq_array(rows, sizeof(*code));

	for (size_t r = 0; r < rows; r++)
		code[r] = mmq_decide_class(&model->decide, (uint32_t)y[r]);
	mmq_calibrate_fini(&model->calibrate);
	int result = mmq_calibrate_fit(&model->calibrate, kind, &model->decide, inputs, code, weight, rows, err);
	if (result == 0)
		model->outputs |= MMQ_OUT_PROBABILITY;
	free(code);
	return result;
}

enum mmq_calibration
mmq_model_calibration(const struct mmq_model *model)
{
	return model->calibrate.kind;
}

const char *
mmq_model_contribution_method(const struct mmq_model *model)
{
	return model->contribution_method;
}

unsigned
mmq_model_outputs(const struct mmq_model *model)
{
	return model->outputs;
}

size_t
mmq_model_columns(const struct mmq_model *model)
{
	return model->columns;
}

const char *const *
mmq_model_column_names(const struct mmq_model *model)
{
	return model->column_names;
}

size_t
mmq_model_bytes(const struct mmq_model *model)
{
	return model->container == NULL ? 0 : model->container->size;
}

int
mmq_model_describe(const struct mmq_model *model, struct mmq_part *out, struct mmq_err *err)
{
	return model->engine->describe(model->state, out, err);
}
