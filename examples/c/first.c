/* first.c: train a model and ask it, through a running service. Usage: first [HOME or ENDPOINT]; start one with `modelmq up`. */
#include <stdio.h>

#include <modelmq.h>

int
main(int argc, char **argv)
{
	const double hours[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, points[] = { 12, 19, 33, 41, 48, 62, 69, 83, 88, 99, 112, 119 };
	const double ask[] = { 2.5, 7.5 };
	struct mmq_client *client = mmq_client_open(argc > 1 ? argv[1] : NULL);
	struct mmq_message *train = mmq_message_new("train"), *predict = mmq_message_new("predict");

	mmq_message_text(train, "model", "points");
	mmq_message_text(train, "engine", "linear");
	mmq_message_text(train, "target", "points");
	mmq_message_map(train, "data");
	mmq_message_map(train, "columns");
	mmq_message_numbers(train, "hours", hours, 12);
	mmq_message_numbers(train, "points", points, 12);
	mmq_message_close(train), mmq_message_close(train);
	struct mmq_answer *trained = mmq_client_train(client, &train, 60000);
	mmq_message_text(predict, "model", "points");
	mmq_message_rows(predict, "rows", ask, 2, 1);
	struct mmq_answer *answer = mmq_client_ask(client, &predict, 10000);
	printf("%s%s\n2.5 h: %.1f points, 7.5 h: %.1f points\n", mmq_answer_why(trained), mmq_answer_why(answer),
	    mmq_answer_number(answer, "outputs.prediction.0", 0), mmq_answer_number(answer, "outputs.prediction.1", 0));
	return mmq_answer_is_ok(trained) && mmq_answer_is_ok(answer) ? 0 : 1;
}
