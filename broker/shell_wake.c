/* shell_wake.c: what wakes the loop. zmq_poll() asks every socket for its state twice, a system call each time, which costs more than a
 * small request. Here the loop reads the two busy sockets until they are empty, and sleeps on descriptors only when a
 * whole turn neither received nor sent anything.
 *
 * A socket's descriptor says only that something about the socket changed, and falls silent when any call on the socket looks.
 * So: a socket that was sent on is read empty before the loop sleeps, and only such a one, since each look at an empty socket is a system
 * call; `publish`, which is never sent on, is remembered as readable until reading found it empty. */
#include "broker/shell.h"

#include "daemon/daemon.h"

static void
wake_set(struct pollfd *wake, void *socket)
{
	size_t size = sizeof wake->fd;

	if (socket == NULL || zmq_getsockopt(socket, ZMQ_FD, &wake->fd, &size) == -1)
		wake->fd = -1;
}

void
mmq_shell_wakes_init(const struct shell *shell, struct pollfd wakes[WAKES])
{
	for (int i = 0; i < WAKES; i++)
		wakes[i] = (struct pollfd){ .events = POLLIN, .revents = POLLIN };
	wakes[WAKE_SIGNAL].fd = mmq_signal_fd();
	wakes[WAKE_JOURNAL].fd = shell->journal == NULL ? -1 : shell->ops->fd(shell->journal);
	wake_set(&wakes[WAKE_WORK], shell->work);
	wake_set(&wakes[WAKE_REQUEST], shell->request);
	wake_set(&wakes[WAKE_PUBLISH], shell->publish);
	wakes[WAKE_HTTP].fd = shell->http == NULL ? -1 : mmq_http_fd(shell->http);
	wakes[WAKE_HTTP].revents = 0;
	wake_set(&wakes[WAKE_ZAP], shell->has_keys ? shell->zap.socket : NULL);
}

int
mmq_shell_wait(const struct shell *shell, struct pollfd wakes[WAKES], int timeout_ms)
{
	bool publish_left = wakes[WAKE_PUBLISH].revents != 0, is_full = mmq_core_bytes(shell->core) >= PUSH_SHARE(shell->options.bytes_max);
	int result;

	wake_set(&wakes[WAKE_SINK], shell->sink.socket);  /* it is bound anew when keys are revoked */
	if (publish_left && !is_full)
		timeout_ms = 0;
	/* Pushed requests wait in their senders while memory is short: their descriptor must not wake the loop again and again. */
	if (is_full)
		wakes[WAKE_PUBLISH].events = 0;
	result = poll(wakes, WAKES, timeout_ms);
	wakes[WAKE_PUBLISH].events = POLLIN;
	if (result == -1)
		for (int i = 0; i < WAKES; i++)
			wakes[i].revents = 0;
	if (publish_left)
		wakes[WAKE_PUBLISH].revents = POLLIN;
	return result;
}
