/* source.h: a file of any known format, or bytes that came in a request, into a frame.
 *
 * Files are opened only inside allowed folders and only if they are regular files. .gz is unpacked on the way, up to
 * the byte limit. The hash of the unpacked bytes goes to the model's card. */
#ifndef MMQ_DATA_SOURCE_H
#define MMQ_DATA_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "data/limits.h"
#include "data/schema.h"
#include "mpack/reader.h"
#include "util/err.h"

enum mmq_format { MMQ_FORMAT_AUTO, MMQ_FORMAT_CSV, MMQ_FORMAT_LIBSVM, MMQ_FORMAT_IDX, MMQ_FORMAT_NPY, MMQ_FORMAT_JSONL };
enum { MMQ_SOURCE_HASH_BYTES = 32 };

struct mmq_source {
	char *file;                        /* owned */
	char *labels;                      /* idx, npy: a second file with one label per row, column "label"; owned or NULL */
	enum mmq_format format;            /* AUTO: from the name, passing over .gz */
	char delimiter;                    /* csv; 0: comma, tab for .tsv */
	char **names;                      /* column names; owned, NULL: from the file */
	size_t names_count;
	size_t width;                      /* libsvm: columns; 0: the largest index */
	struct mmq_data_limits limits;
	const struct mmq_schema *schema;   /* borrowed; kinds that are set: the request's for training, the model's for predicting, so that
	                                      "007" of a categorical column is the same text in both; NULL: all inferred */
};

void mmq_source_init(struct mmq_source *source);   /* default limits */
void mmq_source_fini(struct mmq_source *source);
/* The request's {file, format, options: {delimiter, names, width, labels}}; unknown keys are passed over. INVALID_ARGUMENT names the field. */
int mmq_source_read(struct mmq_source *source, struct mmq_reader *map, struct mmq_err *err);
/* The map `options` alone, as a request's `format_options` has it beside a payload. */
int mmq_source_read_options(struct mmq_source *source, struct mmq_reader *map, struct mmq_err *err);

/* A whole file inside the allowed folders, unpacked if it is gzip; *bytes_out is the caller's to free(). */
int mmq_source_bytes(const char *file, const char *const *folders, size_t folders_count, size_t bytes_max, uint8_t **bytes_out, size_t *size_out,
    struct mmq_err *err);

/* Read source->file into frame (initialised, empty). folders: where files may be; realpath of both sides is compared.
 * PERMISSION_DENIED names the rule; NOT_FOUND; INVALID_ARGUMENT with file, line and column. hash_out may be NULL. */
int mmq_source_open(struct mmq_frame *frame, const struct mmq_source *source, const char *const *folders, size_t folders_count,
    uint8_t hash_out[MMQ_SOURCE_HASH_BYTES], struct mmq_err *err);
/* The same for bytes in memory (a request's payload); format must be set, labels is not used. */
int mmq_source_parse(struct mmq_frame *frame, const struct mmq_source *source, const void *bytes, size_t size,
    uint8_t hash_out[MMQ_SOURCE_HASH_BYTES], struct mmq_err *err);

const char *mmq_format_name(enum mmq_format format);
int mmq_format_from_name(const char *name, size_t size);   /* -1: unknown */
enum mmq_format mmq_format_guess(const char *file);        /* AUTO: cannot tell */

#endif
