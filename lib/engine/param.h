/* param.h: one table of parameters per engine feeds validation, `modelmq engines`, describe, docs and search spaces.
 *
 * Names are frozen for ever: tree = LightGBM's, the others scikit-learn's. Aliases (XGBoost, LIBSVM letters, ...) are
 * accepted and stored under the canonical name; a canonical name and its alias together are an error. */
#ifndef MMQ_ENGINE_PARAM_H
#define MMQ_ENGINE_PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/part.h"
#include "util/buf.h"
#include "util/err.h"
#include "mpack/reader.h"

enum mmq_param_type {
	MMQ_P_BOOL, MMQ_P_INT, MMQ_P_NUMBER,
	MMQ_P_ENUM,           /* one of choices */
	MMQ_P_NUMBER_OR_ENUM, /* e.g. gamma: a number, or scale|auto */
	MMQ_P_INTS,           /* list of integers, e.g. hidden_layer_sizes */
	MMQ_P_NUMBERS,        /* list of numbers */
	MMQ_P_TEXT,           /* up to 4096 bytes; the engine reads them */
};

struct mmq_param {
	const char *name, *aliases;   /* aliases: space-separated or NULL */
	enum mmq_param_type type;
	const char *def;              /* as text: "true", "31", "0.1", "scale", "100" or "64 32" for lists */
	double min, max;              /* numbers and list entries; inclusive */
	const char *choices;          /* enums: "scale|auto" */
	const char *doc;              /* one sentence */
	double search_min, search_max; /* equal: not searched; for hyper-parameter search later */
};                                /* a table ends with name == NULL */

struct mmq_params;                /* resolved values of one engine, every parameter present */

/* Resolve from a msgpack map of name -> value at the reader's place (NULL reader: all defaults).
 * Numbers given as text are accepted only when from_text (command line, `--set`). INVALID_ARGUMENT names the parameter as "params.<name>". */
int mmq_params_read(struct mmq_params **params_out, const struct mmq_param *table, struct mmq_reader *map, struct mmq_err *err);
/* The same from "name=value" texts, as the command line and tests give them. */
int mmq_params_parse(struct mmq_params **params_out, const struct mmq_param *table, const char *const *settings, size_t count, struct mmq_err *err);
void mmq_params_destroy(struct mmq_params **params);

/* Values by canonical name; an unknown name or another type is a programmer's mistake (assert). */
bool mmq_params_bool(const struct mmq_params *params, const char *name);
int64_t mmq_params_int(const struct mmq_params *params, const char *name);
double mmq_params_number(const struct mmq_params *params, const char *name);
bool mmq_params_is_number(const struct mmq_params *params, const char *name);          /* NUMBER_OR_ENUM given as a number */
const char *mmq_params_choice(const struct mmq_params *params, const char *name);      /* ENUM, TEXT, or NUMBER_OR_ENUM given as a word */
const double *mmq_params_list(const struct mmq_params *params, const char *name, size_t *count_out);
bool mmq_params_is_set(const struct mmq_params *params, const char *name);             /* given by the user, not the default */

/* Write canonical names and values as a msgpack map (for cards and answers), or as part values. */
void mmq_params_write(const struct mmq_params *params, struct mmq_buf *out);

#endif
