/* shell_memory.c: gives back to the system what the allocator keeps for another flood. Thousands of connections leave hundreds of megabytes of
 * small holes in libzmq's heap, which glibc would keep for ever. Looked at once a minute while the loop is awake anyway. */
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/shell.h"

enum { LOOK_US = 60000000, SLACK_BYTES = 64 << 20 };

static uint64_t
resident_bytes(void)
{
	char text[128] = "", *end;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd == -1 ? -1 : read(fd, text, sizeof text - 1);

	if (fd != -1)
		close(fd);
	if (size <= 0)
		return 0;
	strtoull(text, &end, 10);       /* all of it, then what is resident, in pages */
	return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void
mmq_shell_memory(struct shell *shell)
{
	if (shell->now_us < shell->memory_us)
		return;
	shell->memory_us = shell->now_us + LOOK_US;
	if (resident_bytes() > SLACK_BYTES + 2 * (mmq_core_bytes(shell->core) + shell->clients.mail_bytes))
		malloc_trim(0);
}
