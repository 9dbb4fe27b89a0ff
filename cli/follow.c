/* follow.c: shows a job until it has ended, from the sink's messages.
 *
 * The sink may lose messages and may start late, so the job itself is asked for at the start and every two seconds of
 * silence; whichever comes first moves the bar. A bar only on a terminal; elsewhere a line when the phase changes. */
#include <math.h>
#include <string.h>

#include "cli/cli.h"

enum { BAR_WIDTH = 24, SILENCE_MS = 2000 };

struct follow {
	struct cli *cli;
	char phase[32];
	bool is_bar_shown;
};

static void
bar_clear(struct follow *follow)
{
	if (follow->is_bar_shown)
		fputs("\r\033[K", stdout);
	follow->is_bar_shown = false;
}

static void
show_progress(struct follow *follow, const struct mmq_answer *answer)
{
	const char *phase = mmq_answer_text(answer, "progress.phase"), *name = mmq_answer_text(answer, "progress.loss_name");
	double fraction = mmq_answer_number(answer, "progress.fraction", 0), loss = mmq_answer_number(answer, "progress.loss", NAN);
	double valid = mmq_answer_number(answer, "progress.valid_loss", NAN), eta_ms = mmq_answer_number(answer, "progress.eta_ms", NAN);

	if (phase == NULL)
		return;
	if (!follow->cli->is_terminal) {
		if (strcmp(phase, follow->phase) != 0 && !follow->cli->json)
			printf("%s\n", phase);
		snprintf(follow->phase, sizeof(follow->phase), "%s", phase);
		fflush(stdout);
		return;
	}
	fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
	int full = (int)(fraction * BAR_WIDTH);
	printf("\r\033[K%-8s [%.*s%.*s] %3.0f %%", phase, full, "########################", BAR_WIDTH - full, "........................",
	    fraction * 100);
	if (!isnan(loss))
		printf("  %s %.4g", name != NULL ? name : "loss", loss);
	if (!isnan(valid))
		printf("  valid %.4g", valid);
	if (!isnan(eta_ms))
		printf("  %.0f s left", eta_ms / 1000);
	fflush(stdout);
	follow->is_bar_shown = true;
}

/* "accuracy 0.9667, auc 0.99 on 30 rows" of result.metrics.test, straight from its JSON-like order. */
static void
print_metrics(const struct mmq_answer *answer)
{
	cli_print_plain("  test", 8, answer, "result.metrics.test");
}

static int
outcome(struct follow *follow, const char *job, const struct mmq_answer *answer)
{
	const char *state = mmq_answer_text(answer, "state"), *model = mmq_answer_text(answer, "model");
	const char *code = mmq_answer_text(answer, "error.code"), *message = mmq_answer_text(answer, "error.message");
	int64_t started = mmq_answer_int(answer, "started_ms", 0), ended = mmq_answer_int(answer, "ended_ms", 0);

	bar_clear(follow);
	if (follow->cli->json)
		cli_print_json(answer, "");
	if (strcmp(state, "done") != 0)
		return cli_say(CLI_ERROR, "job %s %s: %s: %s", job, state, code != NULL ? code : "INTERNAL", message != NULL ? message : "no reason given");
	if (follow->cli->json)
		return CLI_OK;
	printf("%s version %lld", model != NULL ? model : "model",
	    (long long)mmq_answer_int(answer, "version", mmq_answer_int(answer, "result.version", 0)));
	if (started > 0 && ended >= started)
		printf(" after %.1f s", (double)(ended - started) / 1000);
	putchar('\n');
	print_metrics(answer);
	for (size_t i = 0; i < mmq_answer_count(answer, "result.warnings"); i++) {
		char path[64];
		snprintf(path, sizeof(path), "result.warnings.%zu", i);
		const char *warning = mmq_answer_text(answer, path);
		printf("  warning: %s\n", warning != NULL ? warning : "");
	}
	return CLI_OK;
}

static bool
has_ended(const struct mmq_answer *answer)
{
	const char *state = mmq_answer_text(answer, "state");

	return state != NULL && (strcmp(state, "done") == 0 || strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0);
}

int
cli_follow(struct cli *cli, const char *job)
{
	struct follow follow = { .cli = cli };
	struct mmq_client *client = cli_client(cli);
	bool has_sink = mmq_client_subscribe(client, "job/") == 0;   /* the service narrows it to our tenant */
	int result = CLI_OK;

	for (;;) {
		struct mmq_message *message = mmq_message_new(has_sink ? "job.get" : "job.wait");
		mmq_message_text(message, "job", job);
		if (!has_sink)
			mmq_message_int(message, "deadline_ms", SILENCE_MS);
		struct mmq_answer *answer = mmq_client_ask(client, &message, (int)cli->timeout_ms);
		if (mmq_answer_is_ok(answer) && has_ended(answer)) {
			result = outcome(&follow, job, answer);
			mmq_answer_destroy(&answer);
			return result;
		}
		if (mmq_answer_is_ok(answer)) {
			show_progress(&follow, answer);
		} else if (has_sink || mmq_answer_is_local(answer) || strcmp(mmq_answer_code(answer), "DEADLINE_EXCEEDED") != 0) {
			bar_clear(&follow);
			result = cli_fail(answer);
			mmq_answer_destroy(&answer);
			return result;
		}
		mmq_answer_destroy(&answer);
		/* Messages of this job until it ends or falls silent; then the job itself is asked again. */
		for (bool goes_on = has_sink; goes_on && (answer = mmq_client_next(client, SILENCE_MS)) != NULL; mmq_answer_destroy(&answer)) {
			const char *about = mmq_answer_text(answer, "job");
			if (about == NULL || strcmp(about, job) != 0)
				continue;
			show_progress(&follow, answer);
			goes_on = !has_ended(answer);
		}
	}
}
