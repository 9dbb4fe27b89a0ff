/* job_export.c: a version as a file of another library, a piece of at most PIECE_BYTES at a time: writing is deterministic, so a client that asks
 * again with an offset goes on where it was, and the hash tells that all pieces are of one file. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "convert/model_file.h"
#include "mpack/map.h"
#include "trainer/job_inner.h"
#include "trainer/store_reply.h"
#include "util/mem.h"
#include "wire/reply.h"

enum { PIECE_BYTES = 2 << 20 };

static int
open_version(struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_work_item *item = job->item;
	int fd, result = mmq_model_choose(job->options.store, item, &job->head, &job->version, err);

	if (result == -1)
		return -1;
	if (mmq_store_open_model(job->options.store, item->tenant, item->model, job->version, &fd, err) == -1)
		return err->code == MMQ_NOT_FOUND ? mmq_err_value(err, MMQ_NOT_FOUND, "version", "a version of the model", "%u", job->version) : -1;
	result = mmq_model_open(&job->model, fd, err);
	close(fd);
	return result;
}

static int
choose(struct mmq_job *job, const struct mmq_text *format, struct mmq_err *err)
{
	const char *engine = mmq_model_engine(job->model)->name;

	job->converter = format->at != NULL ? mmq_converter_find(format->at, format->size) : mmq_converter_of_engine(engine);
	if (job->converter == NULL && format->at != NULL)
		return mmq_converter_refuse(format->at, format->size, err);
	if (job->converter == NULL || job->converter->write == NULL || strcmp(job->converter->engine, engine) != 0)
		return mmq_err_value(err, MMQ_FAILED_PRECONDITION, "format", "a format that models of this engine can be written in", "engine '%s'%s%.*s", engine,
		    format->at != NULL ? " as " : "", (int)format->size, format->at != NULL ? format->at : "");
	return 0;
}

static void
put_piece(struct mmq_job *job, const struct mmq_buf *file, size_t offset)
{
	uint8_t hash[MMQ_SOURCE_HASH_BYTES];
	char hex[sizeof(hash) * 2 + 1];
	size_t size = file->size - offset < PIECE_BYTES ? file->size - offset : PIECE_BYTES;
	struct mmq_map map = { .buf = &job->result, .place = mmq_reply_begin_open(&job->result, &job->head), .pairs = mmq_reply_pairs(&job->head) };

	crypto_generichash(hash, sizeof(hash), file->bytes, file->size, NULL, 0);
	mmq_map_text(&map, "model", job->item->model);
	mmq_map_int(&map, "version", job->version);
	mmq_map_text(&map, "format", job->converter->name);
	mmq_map_text(&map, "library", job->converter->library);
	mmq_map_int(&map, "bytes", (int64_t)file->size);
	mmq_map_text(&map, "hash", sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash)));
	mmq_map_int(&map, "offset", (int64_t)offset);
	if (offset + size < file->size)
		mmq_map_int(&map, "next", (int64_t)(offset + size));
	mmq_put_bin(mmq_map_key(&map, "data"), file->bytes + offset, size);
	mmq_map_end(&map);
}

int
mmq_job_export(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_convert_request request;
	struct mmq_converted converted;
	struct mmq_buf file;

	if (mmq_peek(&job->head, job->item->body, job->item->body_bytes, job->item->payload != NULL ? 2 : 1, err) == -1 ||
	    mmq_convert_request_read(&request, job->item->body, job->item->body_bytes, err) == -1 || open_version(job, err) == -1 ||
	    choose(job, &request.format, err) == -1)
		return -1;
	mmq_converted_init(&converted);
	mmq_buf_init(&file, MMQ_CONVERT_BYTES_MAX);
	int result = mmq_converted_of_model(&converted, job->model, err);
	if (result == 0)
		result = job->converter->write(&converted, &file, err);
	if (result == 0 && file.failed)
		result = mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "the file would be larger than %d bytes", MMQ_CONVERT_BYTES_MAX);
	if (result == 0 && (uint64_t)request.offset > file.size)
		result = mmq_err_value(err, MMQ_INVALID_ARGUMENT, "offset", "at most the file's size", "%lld of %zu", (long long)request.offset, file.size);
	if (result == 0)
		put_piece(job, &file, (size_t)request.offset);
	mmq_converted_fini(&converted);
	mmq_buf_fini(&file);
	job->version = 0;   /* nothing was published */
	return result;
}
