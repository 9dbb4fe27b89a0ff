/* keys.c: reads CURVE keys from key files in the layout of ZeroMQ certificates (ZPL): lines `public-key = "..."`, `secret-key = "..."`.
 *
 * Read by hand rather than through czmq, which would install signal handlers in the program that uses this library. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <zmq.h>

#include "client/internal.h"

enum { KEY_LENGTH = 40 };   /* 32 bytes in Z85 */

static bool
is_key(const char *text)
{
	uint8_t bytes[32];

	return strlen(text) == KEY_LENGTH && zmq_z85_decode(bytes, text) != NULL;
}

static bool
find_line(FILE *file, const char *which, char key_out[41])
{
	char line[512];

	while (fgets(line, sizeof(line), file) != NULL) {
		const char *at = line + strspn(line, " \t");
		size_t length = strlen(which);
		if (strncmp(at, which, length) != 0)
			continue;
		at += length + strspn(at + length, " \t");
		if (*at++ != '=')
			continue;
		at += strspn(at, " \t\"");
		snprintf(key_out, KEY_LENGTH + 1, "%.*s", (int)strcspn(at, "\"\r\n"), at);
		return is_key(key_out);
	}
	return false;
}

int
mmq_keys_read(const char *file_or_key, const char *which, char key_out[41], struct mmq_err *err)
{
	if (is_key(file_or_key)) {
		memcpy(key_out, file_or_key, KEY_LENGTH + 1);
		return 0;
	}
	FILE *file = fopen(file_or_key, "re");
	if (file == NULL)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "key file '%s': %s", file_or_key, strerror(errno));
	bool found = find_line(file, which, key_out);
	fclose(file);
	return found ? 0 : mmq_err_set(err, MMQ_INVALID_ARGUMENT, "key file '%s': no valid %s", file_or_key, which);
}
