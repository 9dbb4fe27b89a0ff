/* model_file.c: see model_file.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/engine/model_file.h"
#include "util/mem.h"

char *
model_file_read(const char *name, size_t *size_out)
{
	char path[160];
	snprintf(path, sizeof(path), "tests/data/models/%s", name);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	*size_out = (size_t)ftell(file);
	rewind(file);
	char *bytes = mmq_alloc(*size_out + 1);
	assert_int_equal(fread(bytes, 1, *size_out, file), *size_out);
	fclose(file);
	return bytes;
}
