/* records.c: see records.h. Only quotes and line ends are looked at; what the fields mean is the service's business. */
#include "cli/records.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "util/mem.h"

struct records {
	gzFile file;
	bool failed;
};

struct records *
records_open(const char *path)
{
	gzFile file = strcmp(path, "-") == 0 ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path, "rb");

	if (file == NULL)
		return NULL;
	struct records *records = mmq_alloc(sizeof(*records));
	records->file = file;
	gzbuffer(file, 1 << 16);
	return records;
}

void
records_close(struct records *records)
{
	gzclose(records->file);
	free(records);
}

int
records_peek(struct records *records)
{
	int c;

	do
		c = gzgetc(records->file);
	while (c != -1 && isspace(c));
	if (c != -1)
		gzungetc(c, records->file);
	return c;
}

bool
records_next(struct records *records, bool is_csv, struct mmq_buf *out)
{
	size_t start = out->size;
	bool in_quotes = false, has_text = false;
	int c;

	while ((c = gzgetc(records->file)) != -1) {
		char byte = (char)c;
		mmq_buf_append(out, &byte, 1);
		in_quotes ^= is_csv && c == '"';
		has_text = has_text || (c != '\n' && c != '\r');
		if (c != '\n' || in_quotes)
			continue;
		if (has_text)
			return true;
		out->size = start;
	}
	int code;
	gzerror(records->file, &code);
	records->failed = code != Z_OK && code != Z_STREAM_END;
	if (!has_text) {
		out->size = start;
		return false;
	}
	mmq_buf_append(out, "\n", 1);   /* a last line without its end */
	return true;
}

bool
records_failed(const struct records *records)
{
	return records->failed;
}
