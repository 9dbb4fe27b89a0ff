/* home.c: finds a service on this machine by its home folder. The broker writes HOME/endpoints, one `name=endpoint` a line. */
#include "util/home.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

const char *
mmq_home_default(void)
{
	const char *home = getenv("MODELMQ_HOME");

	return home != NULL && *home != '\0' ? home : "modelmq-home";
}

char *
mmq_home_endpoint(const char *home, const char *which, struct mmq_err *err)
{
	char path[4096], line[1024];
	size_t which_length = strlen(which);
	char *endpoint = NULL;

	if (snprintf(path, sizeof(path), "%s/endpoints", home) >= (int)sizeof(path)) {
		mmq_err_set(err, MMQ_INVALID_ARGUMENT, "home: the path is too long");
		return NULL;
	}
	FILE *file = fopen(path, "re");
	if (file == NULL) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "no service at home '%s': %s: %s; start one with `modelmq up --home %s`", home, path,
		    strerror(errno), home);
		return NULL;
	}
	while (endpoint == NULL && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\r\n")] = '\0';
		if (strncmp(line, which, which_length) == 0 && line[which_length] == '=')
			endpoint = mmq_strdup(line + which_length + 1);
	}
	fclose(file);
	if (endpoint == NULL)
		mmq_err_set(err, MMQ_UNAVAILABLE, "%s: no line '%s='", path, which);
	return endpoint;
}

char *
mmq_home_path(const char *home, const char *name)
{
	size_t home_length = strlen(home), name_length = strlen(name);
	char *path = mmq_alloc(home_length + name_length + 2);

	memcpy(path, home, home_length);
	path[home_length] = '/';
	memcpy(path + home_length + 1, name, name_length);
	return path;
}
