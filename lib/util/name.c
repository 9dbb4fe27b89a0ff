/* name.c: the one rule for names of models, tenants, aliases and engines. */
#include "util/name.h"

#include <string.h>

/* The part before the first dot, as Windows reads it. */
static bool
is_device_name(const char *text, size_t size)
{
	static const char *const words[] = { "con", "prn", "aux", "nul" };
	const char *dot = memchr(text, '.', size);
	size_t stem = dot != NULL ? (size_t)(dot - text) : size;

	for (size_t i = 0; stem == 3 && i < sizeof(words) / sizeof(words[0]); i++)
		if (memcmp(text, words[i], 3) == 0)
			return true;
	return stem == 4 && text[3] >= '0' && text[3] <= '9' && (memcmp(text, "com", 3) == 0 || memcmp(text, "lpt", 3) == 0);
}

bool
mmq_name_is_valid(const char *text, size_t size)
{
	if (size == 0 || size > MMQ_NAME_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = text[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		if (!is_plain && (i == 0 || (c != '.' && c != '_' && c != '-')))
			return false;
	}
	return !is_device_name(text, size);
}
