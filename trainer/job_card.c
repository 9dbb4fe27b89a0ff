/* job_card.c: the model card: where a model comes from, what it learnt from and how good it is, for people and tools. */
#include <sodium.h>
#include <string.h>

#include "data/profile.h"
#include "math/blas.h"
#include "math/cpu.h"
#include "mpack/map.h"
#include "trainer/job_inner.h"
#include "util/clock.h"
#include "util/mem.h"
#include "wire/reply.h"

static void
put_source(struct mmq_buf *out, const struct mmq_job_source *source, const char *part)
{
	char hex[MMQ_SOURCE_HASH_BYTES * 2 + 1];
	struct mmq_map map = mmq_map_begin(out);

	mmq_map_text(&map, "part", part);
	if (source->file != NULL)
		mmq_map_text(&map, "file", source->file);
	else
		mmq_map_text(&map, "from", "request");
	mmq_map_text(&map, "hash", sodium_bin2hex(hex, sizeof(hex), source->hash, sizeof(source->hash)));
	mmq_map_int(&map, "rows", (int64_t)source->rows);
	mmq_map_end(&map);
}

static void
put_metrics(struct mmq_buf *out, const struct mmq_job *job)
{
	struct mmq_map map = mmq_map_begin(out);
	if (job->test.rows > 0)
		mmq_metrics_write(&job->test, mmq_map_key(&map, "test"));
	if (job->valid.rows > 0)
		mmq_metrics_write(&job->valid, mmq_map_key(&map, "valid"));
	if (job->train.rows > 0)
		mmq_metrics_write(&job->train, mmq_map_key(&map, "train"));
	mmq_map_end(&map);
}

static void
put_rows(struct mmq_buf *out, const struct mmq_job *job)
{
	struct mmq_map map = mmq_map_begin(out);
	mmq_map_int(&map, "train", (int64_t)(job->split_spec.refit ? job->frame.rows : job->split.train_count));
	mmq_map_int(&map, "valid", (int64_t)job->split.valid_count);
	mmq_map_int(&map, "test", (int64_t)job->test.rows);
	mmq_map_end(&map);
}

/* The warnings, each once. */
static void
put_warnings(struct mmq_buf *out, const struct mmq_job *job)
{
	size_t place = mmq_put_array_begin(out);
	uint32_t count = 0;
	const char *text = (const char *)job->warnings.bytes, *end = text + job->warnings.size;

	for (const char *at = text; at != NULL && at < end; count++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		stop = stop == NULL ? end : stop;
		mmq_put_strn(out, at, (size_t)(stop - at));
		at = stop + 1;
	}
	mmq_put_array_end(out, place, count);
}

static void
put_timings(struct mmq_buf *out, const struct mmq_job *job)
{
	static const char *const names[MMQ_PHASES] = { "read", "prepare", "fit", "evaluate", "publish" };
	mmq_put_map(out, MMQ_PHASE_PUBLISH);
	for (int p = 0; p < MMQ_PHASE_PUBLISH; p++) {
		mmq_put_str(out, names[p]);
		mmq_put_int(out, job->phase_ms[p]);
	}
}

/* What the card and the answer both show. */
static void
put_common(struct mmq_map *map, const struct mmq_job *job)
{
	mmq_map_text(map, "model", job->item->model);
	mmq_map_int(map, "version", job->version);
	mmq_map_text(map, "engine", job->engine->name);
	mmq_map_text(map, "task", mmq_task_name(job->task));
	if (job->task_is_inferred)
		mmq_map_text(map, "task_inferred", job->task_why);
	mmq_params_write(job->params, mmq_map_key(map, "params"));
	put_rows(mmq_map_key(map, "rows"), job);
	if (job->classes.count > 0)
		mmq_reply_put_classes(mmq_map_key(map, "classes"), &job->classes);
	put_metrics(mmq_map_key(map, "metrics"), job);
	if (job->previous != NULL) {
		struct mmq_map parent = mmq_map_begin(mmq_map_key(map, "parent"));
		mmq_map_text(&parent, "model", job->previous_name);
		mmq_map_int(&parent, "version", job->previous_version);
		mmq_map_end(&parent);
	}
	if (job->request.calibrate != MMQ_CALIBRATE_NONE) {
		struct mmq_map calibrate = mmq_map_begin(mmq_map_key(map, "calibrate"));
		mmq_map_text(&calibrate, "kind", mmq_calibration_name((enum mmq_calibration)job->request.calibrate));
		mmq_map_text(&calibrate, "on", job->calibrated_by_folds ? "folds" : "valid");
		mmq_map_int(&calibrate, "rows", (int64_t)job->calibrated_on);
		mmq_map_end(&calibrate);
	}
	if (job->importance != NULL)
		mmq_job_put_importance(job, mmq_map_key(map, "permutation_importance"));
	if (job->gates.size > 0)
		mmq_map_packed(map, "gates", job->gates.bytes, job->gates.size);
	put_warnings(mmq_map_key(map, "warnings"), job);
	put_timings(mmq_map_key(map, "timings_ms"), job);
	mmq_map_int(map, "seed", (int64_t)job->request.seed);
}

static void
put_part_value(struct mmq_buf *out, const struct mmq_value *value)
{
	switch (value->type) {
	case MMQ_V_INT:
		mmq_put_int(out, value->i);
		break;
	case MMQ_V_BOOL:
		mmq_put_bool(out, value->i != 0);
		break;
	case MMQ_V_DOUBLE:
		mmq_put_double(out, value->f);
		break;
	case MMQ_V_TEXT:
		mmq_put_str(out, value->texts[0]);
		break;
	case MMQ_V_TEXTS:
		mmq_put_array(out, value->count);
		for (size_t i = 0; i < value->count; i++)
			mmq_put_str(out, value->texts[i]);
		break;
	case MMQ_V_DOUBLES:
		mmq_put_doubles(out, value->doubles, value->count);
		break;
	}
}

/* What the engine tells of itself. */
static void
put_description(struct mmq_buf *out, const struct mmq_model *model)
{
	struct mmq_part part;
	struct mmq_map map = mmq_map_begin(out);

	mmq_part_init(&part, true);
	if (mmq_model_describe(model, &part, NULL) == 0)
		for (size_t i = 0; i < part.values_count; i++)
			put_part_value(mmq_map_key(&map, part.values[i].key), &part.values[i]);
	mmq_part_fini(&part);
	mmq_map_end(&map);
}

void
mmq_job_put_model(struct mmq_map *map, const struct mmq_model *model)
{
	mmq_schema_write(mmq_model_schema(model), mmq_map_key(map, "inputs"));
	mmq_map_int(map, "sparse_columns", (int64_t)mmq_model_schema(model)->sparse_cols);
	mmq_map_int(map, "outputs", mmq_model_outputs(model));
	mmq_prepare_write(mmq_model_preparation(model), mmq_map_key(map, "preparation"));
	put_description(mmq_map_key(map, "engine_state"), model);
}

void
mmq_job_put_card(const struct mmq_job *job, struct mmq_buf *out)
{
	char created[32];
	struct mmq_map map = mmq_map_begin(out);
	bool has_test = job->request.test.kind != MMQ_DATA_NONE;

	mmq_map_int(&map, "format", 1);
	mmq_map_text(&map, "job", job->id);
	put_common(&map, job);
	if (job->target != NULL)
		mmq_map_text(&map, "target", job->target);
	if (job->task == MMQ_BINARY)
		mmq_map_int(&map, "positive_index", job->positive);
	if (job->request.description.at != NULL)
		mmq_put_strn(mmq_map_key(&map, "description"), job->request.description.at, job->request.description.size);
	mmq_schema_write(&job->schema, mmq_map_key(&map, "schema"));
	mmq_job_put_model(&map, job->model);
	mmq_split_write(&job->split_spec, mmq_map_key(&map, "split"));
	mmq_put_array(mmq_map_key(&map, "sources"), has_test ? 2 : 1);
	put_source(out, &job->source, "data");
	if (has_test)
		put_source(out, &job->test_source, "test");
	mmq_profile_write(&job->frame, &job->schema, job->split.train, job->split.train_count, mmq_map_key(&map, "profile"));
	mmq_map_text(&map, "precision", "f32");
	mmq_map_text(&map, "cpu", mmq_cpu_path());
	mmq_map_text(&map, "blas", mmq_blas_core());
	mmq_map_int(&map, "threads", mmq_pool_threads(job->pool));
	mmq_map_text(&map, "created", mmq_clock_format(mmq_clock_wall_ms(), created));
	mmq_map_text(&map, "code_version", MMQ_VERSION);
	mmq_map_end(&map);
}

void
mmq_job_put_result(const struct mmq_job *job, struct mmq_buf *out)
{
	struct mmq_map map = mmq_map_begin(out);
	put_common(&map, job);
	if (job->alias[0] != '\0')
		mmq_map_text(&map, "alias", job->alias);
	mmq_map_end(&map);
}
