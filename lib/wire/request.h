/* request.h: what a predict or train request asks for beyond its header and values, as plain structs.
 *
 * Every wrong field is named. Maps that other parts of the code own (params, schema, files, preparation) are kept as byte ranges
 * for their readers. All texts and ranges point into the request. */
#ifndef MMQ_WIRE_REQUEST_H
#define MMQ_WIRE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "data/split.h"
#include "mpack/reader.h"
#include "util/err.h"

/* One msgpack value inside a request; at == NULL: it was not there (or nil). */
struct mmq_raw {
	const uint8_t *at;
	size_t size;
};
/* A reader at the value's first byte. */
struct mmq_reader mmq_raw_reader(const struct mmq_raw *raw);

/* The outputs of `want`, in the bits of enum mmq_output and MMQ_WANT_PREDICTION (engine.h, model.h), so that a daemon passes them on. */
enum mmq_ask { MMQ_ASK_SCORE = 1, MMQ_ASK_PROBABILITY = 2, MMQ_ASK_CONTRIBUTION = 4, MMQ_ASK_LEAF = 8, MMQ_ASK_INTERVAL = 16, MMQ_ASK_PREDICTION = 256 };
enum mmq_reply_format { MMQ_REPLY_DEFAULT, MMQ_REPLY_LISTS, MMQ_REPLY_TENSOR };  /* DEFAULT: tensor if the values came as one */

struct mmq_predict_options {
	unsigned want;                 /* OR of enum mmq_ask, not 0 */
	double interval_level;         /* 0.5 .. 0.999 */
	bool report_row_errors;        /* on_row_error: report */
	bool extra_is_ignored;         /* extra: ignore */
	enum mmq_reply_format reply_format;
	struct mmq_raw row_ids;        /* a list of strings and integers */
	uint32_t row_ids_count;
	struct mmq_raw format_options; /* of a csv or jsonl payload: {delimiter, names} */
};

/* Read from a request that mmq_peek accepted. -1: INVALID_ARGUMENT naming the field. */
int mmq_predict_options_read(struct mmq_predict_options *options, const void *request, size_t size, struct mmq_err *err);

enum { MMQ_TARGETS_MAX = 16 };
enum mmq_train_task { MMQ_TRAIN_TASK_INFER, MMQ_TRAIN_TASK_REGRESSION, MMQ_TRAIN_TASK_BINARY, MMQ_TRAIN_TASK_MULTICLASS, MMQ_TRAIN_TASK_CLASSIFICATION,
	MMQ_TRAIN_TASK_ONE_CLASS };

/* Where rows come from. FILE: map is {file, format, options} for mmq_source_read. INLINE: map is {rows|columns|tensor|sparse, names} for
 * mmq_values_read. */
enum mmq_data_kind { MMQ_DATA_NONE, MMQ_DATA_FILE, MMQ_DATA_INLINE };
struct mmq_data_source {
	enum mmq_data_kind kind;
	struct mmq_raw map;
};

struct mmq_train_request {
	struct mmq_text model;
	struct mmq_data_source data, test;       /* test.kind NONE: cut by split */
	struct mmq_text targets[MMQ_TARGETS_MAX];
	size_t targets_count;                    /* 0: the schema's, or the file format's label */
	struct mmq_text engine;                  /* at == NULL: the server's default */
	enum mmq_train_task task;
	struct mmq_raw schema, params, prepare, gates;  /* maps; prepare NULL: auto */
	struct mmq_split_spec split;
	bool split_is_set;
	bool class_weight_is_balanced;
	struct mmq_raw class_weight;             /* {label: weight} */
	struct mmq_raw positive;                 /* a label: string, integer or bool */
	uint32_t threads;                        /* 0: not set */
	uint64_t memory_mb;                      /* 0: not set */
	uint64_t seed;
	uint32_t width;                          /* columns of sparse data; 0: not set */
	struct mmq_text warm_model, warm_alias;  /* warm_model.at == NULL: none */
	uint32_t warm_version;                   /* 0: by warm_alias, or production */
	int calibrate;                           /* 0 none, 1 sigmoid, 2 isotonic: enum mmq_calibration of model.h */
	uint32_t importance_repeats, importance_rows_max;   /* repeats 0: not asked for */
	struct mmq_text alias;                   /* to point at the new version; "production" when not set; at == NULL: none (sent as nil) */
	struct mmq_text description;
	bool keep;
};

/* model.import and model.export. */
struct mmq_convert_request {
	struct mmq_text format;                  /* at == NULL: import by content, export the engine's own */
	struct mmq_text file;                    /* import: on the trainer's machine; at == NULL: it is the payload */
	struct mmq_text alias, description;      /* import, as in train */
	int64_t offset;                          /* export: where to go on */
};
int mmq_convert_request_read(struct mmq_convert_request *request, const void *map, size_t size, struct mmq_err *err);

/* The same for train and train.check. model is the header's. */
int mmq_train_request_read(struct mmq_train_request *train, const void *request, size_t size, struct mmq_err *err);

#endif
