/* keys.h: CURVE key files, made by `modelmq keygen` and, for its own workers, by `modelmq up`. */
#ifndef MMQ_CLI_KEYS_H
#define MMQ_CLI_KEYS_H

/* Write folder/name_secret (0600), folder/name and, when allow_folder is not NULL, allow_folder/name. Existing files are never
 * replaced. The exit code; an error was said. */
int keys_make(const char *folder, const char *allow_folder, const char *name, const char *role, const char *tenant);

#endif
