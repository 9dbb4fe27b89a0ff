/* job_import.c: a model of another library becomes a version: its file is read in a child process, the model file that comes out of it is checked as
 * any other that is opened, and published as a training's would be. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "convert/model_file.h"
#include "mpack/map.h"
#include "trainer/job_inner.h"
#include "trainer/sandbox.h"
#include "util/clock.h"
#include "util/mem.h"
#include "wire/reply.h"

enum { CPU_S = 120, MEMORY_FACTOR = 64 };
#define MEMORY_LEAST ((size_t)512 << 20)

struct reading {
	const struct mmq_converter *converter;
	const uint8_t *bytes;
	size_t size;
};

/* In the child. */
static int
convert(void *arg, int fd, struct mmq_err *err)
{
	const struct reading *reading = arg;
	struct mmq_converted converted;

	mmq_converted_init(&converted);
	int result = reading->converter->read(&converted, reading->bytes, reading->size, err);
	if (result == 0)
		result = mmq_converted_save(&converted, fd, err);
	mmq_converted_fini(&converted);
	return result;
}

static bool
goes_on(void *arg)
{
	const struct mmq_job *job = arg;
	return atomic_load(&job->cancel_code) == MMQ_OK;
}

static int
choose(struct mmq_job *job, const struct mmq_convert_request *request, const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	job->converter = request->format.at != NULL ? mmq_converter_find(request->format.at, request->format.size) :
	    mmq_converter_recognise(bytes, size, err);
	if (job->converter == NULL && request->format.at != NULL)
		return mmq_converter_refuse(request->format.at, request->format.size, err);
	return job->converter != NULL ? 0 : -1;
}

static int
make_model(struct mmq_job *job, const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	struct reading reading = { job->converter, bytes, size };
	size_t memory = size * MEMORY_FACTOR + MEMORY_LEAST;
	int fd = memfd_create("import", MFD_CLOEXEC), result;

	if (fd == -1)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "no memory for the model file");
	if (job->options.memory_bytes_max > 0 && memory > job->options.memory_bytes_max)
		memory = job->options.memory_bytes_max;
	const struct mmq_sandbox sandbox = { .memory_bytes = memory, .cpu_s = CPU_S, .go_on = goes_on, .arg = job };
	result = mmq_sandbox_run(&sandbox, convert, &reading, fd, err);
	if (result == 0)
		result = mmq_model_open(&job->model, fd, err);
	close(fd);
	/* To whom sent it, a damaged file is a wrong argument: nothing of the service is lost. */
	if (result == -1 && err->code == MMQ_DATA_LOSS)
		err->code = MMQ_INVALID_ARGUMENT;
	return result == -1 && err->code != MMQ_CANCELLED ? mmq_err_prefix(err, "file") : result;
}

int
mmq_job_import(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_convert_request request;
	const struct mmq_work_item *item = job->item;
	char path[4097];
	uint8_t *read = NULL;
	const uint8_t *bytes = item->payload;
	size_t size = item->payload_bytes;

	if (mmq_peek(&job->head, item->body, item->body_bytes, item->payload != NULL ? 2 : 1, err) == -1 ||
	    mmq_convert_request_read(&request, item->body, item->body_bytes, err) == -1)
		return -1;
	job->request.alias = request.alias;
	job->request.description = request.description;
	if ((request.file.at != NULL) == (bytes != NULL) || (bytes != NULL && job->head.payload != MMQ_PAYLOAD_FILE))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "file", "a path, or payload: file and a second frame", request.file.at != NULL ? "both" : "neither");
	if (request.file.at != NULL) {
		snprintf(path, sizeof(path), "%.*s", (int)request.file.size, request.file.at);
		if (mmq_source_bytes(path, job->options.folders, job->options.folders_count, MMQ_CONVERT_BYTES_MAX, &read, &size, err) == -1)
			return -1;
		bytes = read;
		job->source.file = mmq_strdup(path);
	}
	job->source_bytes = size;
	crypto_generichash(job->source.hash, sizeof(job->source.hash), bytes, size, NULL, 0);
	int result = choose(job, &request, bytes, size, err);
	if (result == 0)
		result = make_model(job, bytes, size, err);
	free(read);
	if (result == 0) {
		job->engine = mmq_model_engine(job->model);
		job->task = mmq_model_decide(job->model)->task;
	}
	return result;
}

static void
put_common(struct mmq_map *map, const struct mmq_job *job)
{
	const struct mmq_decide *decide = mmq_model_decide(job->model);

	mmq_map_text(map, "model", job->item->model);
	mmq_map_int(map, "version", job->version);
	mmq_map_text(map, "engine", job->engine->name);
	mmq_map_text(map, "task", mmq_task_name(job->task));
	if (decide->classes.count > 0)
		mmq_reply_put_classes(mmq_map_key(map, "classes"), &decide->classes);
	char hex[MMQ_SOURCE_HASH_BYTES * 2 + 1];
	struct mmq_map from = mmq_map_begin(mmq_map_key(map, "imported"));
	mmq_map_text(&from, "library", job->converter->library);
	mmq_map_text(&from, "format", job->converter->name);
	if (job->source.file != NULL)
		mmq_map_text(&from, "file", job->source.file);
	mmq_map_int(&from, "bytes", (int64_t)job->source_bytes);
	mmq_map_text(&from, "hash", sodium_bin2hex(hex, sizeof(hex), job->source.hash, sizeof(job->source.hash)));
	mmq_map_end(&from);
}

void
mmq_job_put_import_card(const struct mmq_job *job, struct mmq_buf *out)
{
	char created[32];
	struct mmq_map map = mmq_map_begin(out);

	mmq_map_int(&map, "format", 1);
	mmq_map_text(&map, "job", job->id);
	put_common(&map, job);
	if (job->task == MMQ_BINARY)
		mmq_map_int(&map, "positive_index", mmq_model_decide(job->model)->positive);
	if (job->request.description.at != NULL)
		mmq_put_strn(mmq_map_key(&map, "description"), job->request.description.at, job->request.description.size);
	mmq_job_put_model(&map, job->model);
	mmq_map_text(&map, "precision", mmq_dtype_name(mmq_prepare_dtype(mmq_model_preparation(job->model))));
	mmq_map_text(&map, "created", mmq_clock_format(mmq_clock_wall_ms(), created));
	mmq_map_text(&map, "code_version", MMQ_VERSION);
	mmq_map_end(&map);
}

int
mmq_job_import_publish(struct mmq_job *job, struct mmq_err *err)
{
	if (mmq_job_publish_version(job, err) == -1)
		return -1;
	struct mmq_map map = { .buf = &job->result, .place = mmq_reply_begin_open(&job->result, &job->head), .pairs = mmq_reply_pairs(&job->head) };
	put_common(&map, job);
	if (job->alias[0] != '\0')
		mmq_map_text(&map, "alias", job->alias);
	mmq_map_int(&map, "columns", (int64_t)mmq_model_columns(job->model));
	mmq_map_end(&map);
	return job->result.failed ? mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "the result is larger than an answer may be") : 0;
}
