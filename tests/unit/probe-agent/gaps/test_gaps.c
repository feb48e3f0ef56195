/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "probe-agent/gaps/gaps.h"
#include "probe-agent/gaps/gaps_sockets.h"
#include "probe-agent/gaps/gaps_tls.h"

/*
 * Real programs, compiled here. Each inherits a listening socket or a
 * connection, says on standard output that it runs, and waits.
 */
#define PROGRAM(before, body)                                                  \
	"#include <unistd.h>\n" before                                         \
	"int main(int argc, char **argv){(void)argv;" body                     \
	"if(write(1,\"r\",1)!=1)return 1;for(;;)pause();}\n"
#define MBEDTLS                                                                \
	PROGRAM("#include <mbedtls/ssl.h>\n",                                  \
		"mbedtls_ssl_context c;mbedtls_ssl_init(&c);"                  \
		"if(argc>9)return mbedtls_ssl_handshake(&c);")
#define GNUTLS                                                                 \
	PROGRAM("#include <gnutls/gnutls.h>\n",                                \
		"if(argc>9)return gnutls_handshake(0);")
#define PLAIN PROGRAM("", "(void)argc;")
#define URING                                                                  \
	PROGRAM("#include <sys/syscall.h>\n#include <linux/io_uring.h>\n",     \
		"struct io_uring_params p={0};(void)argc;"                     \
		"if(syscall(SYS_io_uring_setup,1,&p)<0)return 1;")
#define BITS32                                                                 \
	"static int call(int n,int a,const char*b,int c){int r;"               \
	"__asm__ volatile(\"int $0x80\":\"=a\"(r):\"a\"(n),\"b\"(a),"          \
	"\"c\"(b),\"d\"(c):\"memory\");return r;}"                             \
	"void _start(void){call(4,1,\"r\",1);for(;;)call(29,0,0,0);}\n"

struct bench {
	char dir[64];
	int peer; /* a client's: listens here */
	struct identity_table *identity;
	pid_t pid; /* 0: none runs */
	uint16_t port;
};

static int set_up(void **state)
{
	const struct identity_options io = { .node = "node" };
	struct bench *b = calloc(1, sizeof(*b));

	*state = b;
	snprintf(b->dir, sizeof(b->dir), "/tmp/redtap-gaps-XXXXXX");
	return !mkdtemp(b->dir) || identity_new(&b->identity, &io);
}

static void end_program(struct bench *b)
{
	if (!b->pid)
		return;
	kill(b->pid, SIGKILL);
	waitpid(b->pid, NULL, 0);
	b->pid = 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;
	char command[128];

	end_program(b);
	if (b->peer)
		close(b->peer);
	snprintf(command, sizeof(command), "rm -r %s", b->dir);
	if (system(command))
		return -1;
	identity_free(b->identity);
	free(b);
	return 0;
}

/* False: the compiler can't make it. */
static bool compile(const struct bench *b, const char *name, const char *source,
		    const char *flags)
{
	char path[128], command[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.c", b->dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(source, f);
	fclose(f);
	snprintf(command, sizeof(command),
		 "cc -o %s/%s %s %s 2>%s/errors || { cat %s/errors; false; }",
		 b->dir, name, path, flags, b->dir, b->dir);
	return !system(command);
}

/* A socket that listens, or that is connected to such a one if client. */
static int make_socket(struct bench *b, bool client)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(a);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	b->port = ntohs(a.sin_port);
	if (!client)
		return fd;
	b->peer = fd;
	fcntl(b->peer, F_SETFD, FD_CLOEXEC);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* 0, or the errno of exec, or EPERM: the program gave up. */
static int run_program(struct bench *b, const char *name, bool client)
{
	char path[128], said = 0;
	int ready[2], fd, status;

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	fd = make_socket(b, client);
	b->pid = fork();
	assert_true(b->pid >= 0);
	if (!b->pid) {
		dup2(ready[1], 1);
		execl(path, name, (char *)NULL);
		_exit(errno);
	}
	close(fd);
	close(ready[1]);
	if (read(ready[0], &said, 1) != 1)
		said = 0;
	close(ready[0]);
	if (said)
		return 0;
	waitpid(b->pid, &status, 0);
	b->pid = 0;
	return WEXITSTATUS(status);
}

static struct gaps *find(const struct bench *b, const char *front, bool tls_off,
			 char *exclude)
{
	const struct filter_options fo = {
		.exclude = { .executables = &exclude,
			     .executables_count = exclude ? 1 : 0 },
	};
	struct gaps_options opt = {
		.pid = (uint32_t)b->pid,
		.front = front,
		.tls_off = tls_off,
		.identity = b->identity,
	};
	struct filter_rules *filter;
	struct gaps *g;

	assert_int_equal(filter_new(&filter, &fo), 0);
	opt.filter = filter;
	assert_int_equal(gaps_find(&g, &opt), 0);
	filter_free(filter);
	return g;
}

/* That one reason, at the port of the program; UNSEEN_REASONS: none. */
static void assert_gap(const struct bench *b, struct gaps *g, const char *name,
		       enum role role, enum unseen_reason reason)
{
	const struct gaps_row *row;
	size_t n = gaps_rows(g, &row);

	assert_int_equal(n, reason == UNSEEN_REASONS ? 0 : 1);
	if (n) {
		assert_string_equal(row->service, name);
		assert_int_equal(row->reason, reason);
		assert_int_equal(row->role, role);
		assert_int_equal(row->port, b->port);
		assert_int_equal(row->pid, b->pid);
	}
	for (size_t i = 0; i < UNSEEN_REASONS; i++)
		assert_int_equal(gaps_services(g, (enum unseen_reason)i),
				 i == reason);
	gaps_free(g);
}

#define STATIC_MBEDTLS "-s -static -lmbedtls -lmbedx509 -lmbedcrypto"

static void a_stripped_listener_with_its_own_tls_is_found(void **state)
{
	struct bench *b = *state;

	assert_true(compile(b, "own-tls", MBEDTLS, STATIC_MBEDTLS));
	assert_int_equal(run_program(b, "own-tls", false), 0);
	assert_gap(b, find(b, "fentry", false, NULL), "own-tls", ROLE_SERVER,
		   UNSEEN_TLS_PROGRAM);
}

static void a_client_is_found_by_the_port_of_its_peer(void **state)
{
	struct bench *b = *state;

	assert_true(compile(b, "own-client", MBEDTLS, STATIC_MBEDTLS));
	assert_int_equal(run_program(b, "own-client", true), 0);
	assert_gap(b, find(b, "fentry", false, NULL), "own-client", ROLE_CLIENT,
		   UNSEEN_TLS_PROGRAM);
}

static void go_is_told_apart_by_the_mark_of_its_linker(void **state)
{
	struct bench *b = *state;
	char path[128];
	FILE *f;

	assert_true(compile(b, "like-go", MBEDTLS, STATIC_MBEDTLS));
	snprintf(path, sizeof(path), "%s/like-go", b->dir);
	f = fopen(path, "a");
	assert_non_null(f);
	fputs("\xff Go buildinf:", f);
	fclose(f);
	assert_int_equal(run_program(b, "like-go", false), 0);
	assert_gap(b, find(b, "fentry", false, NULL), "like-go", ROLE_SERVER,
		   UNSEEN_TLS_GO);
}

static void another_library_is_found_by_what_is_in_it(void **state)
{
	struct bench *b = *state;

	assert_true(compile(b, "mbed", MBEDTLS, "-lmbedtls"));
	assert_int_equal(run_program(b, "mbed", false), 0);
	assert_gap(b, find(b, "socket", false, NULL), "mbed", ROLE_SERVER,
		   UNSEEN_TLS_LIBRARY);
}

static void a_library_that_is_attached_to_is_none(void **state)
{
	struct bench *b = *state;

	assert_true(compile(b, "gnu", GNUTLS, "-lgnutls"));
	assert_int_equal(run_program(b, "gnu", false), 0);
	assert_gap(b, find(b, "socket", false, NULL), "gnu", ROLE_SERVER,
		   UNSEEN_REASONS);
	assert_gap(b, find(b, "socket", true, NULL), "gnu", ROLE_SERVER,
		   UNSEEN_TLS_OFF);
}

static void what_is_excluded_has_no_other_reason(void **state)
{
	struct bench *b = *state;
	char glob[] = "own-*", other[] = "plain";

	assert_true(compile(b, "own-tls", MBEDTLS, STATIC_MBEDTLS));
	assert_int_equal(run_program(b, "own-tls", false), 0);
	assert_gap(b, find(b, "fentry", false, glob), "own-tls", ROLE_SERVER,
		   UNSEEN_EXCLUDED);
	assert_gap(b, find(b, "fentry", false, other), "own-tls", ROLE_SERVER,
		   UNSEEN_TLS_PROGRAM);
}

static void a_plain_program_is_none(void **state)
{
	struct bench *b = *state;

	assert_true(compile(b, "plain", PLAIN, ""));
	assert_int_equal(run_program(b, "plain", false), 0);
	assert_gap(b, find(b, "socket", true, NULL), "plain", ROLE_SERVER,
		   UNSEEN_REASONS);
}

static void io_uring_is_one_where_the_front_end_is_blind(void **state)
{
	struct bench *b = *state;

	assert_true(compile(b, "uring", URING, ""));
	if (run_program(b, "uring", false)) {
		print_message("# skip: no io_uring here\n");
		skip();
	}
	assert_gap(b, find(b, "socket", false, NULL), "uring", ROLE_SERVER,
		   UNSEEN_URING);
	assert_gap(b, find(b, "fentry", false, NULL), "uring", ROLE_SERVER,
		   UNSEEN_REASONS);
}

static void a_32_bit_program_is_one_where_the_front_end_is_blind(void **state)
{
	struct bench *b = *state;

	if (!compile(b, "old", BITS32,
		     "-m32 -nostdlib -static -ffreestanding -fno-pic "
		     "-fno-stack-protector") ||
	    run_program(b, "old", false)) {
		print_message("# skip: no 32-bit programs here\n");
		skip();
	}
	assert_gap(b, find(b, "syscall", false, NULL), "old", ROLE_SERVER,
		   UNSEEN_BITS32);
	assert_gap(b, find(b, "kprobe", false, NULL), "old", ROLE_SERVER,
		   UNSEEN_REASONS);
}

/* --- parts --- */

static void lines_of_the_kernel_are_parsed(void **state)
{
	static const char listener[] =
		"   0: 0100007F:24FF 00000000:0000 0A 00000000:00000000 "
		"00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0";
	static const char quic[] =
		" 2048: 00000000000000000000000000000000:01BB "
		"00000000000000000000000000000000:0000 07 00000000:00000000 "
		"00:00000000 00000000     0        0 77 2 0 0";
	struct gaps_socket s;
	char part[sizeof(listener)];

	(void)state;
	assert_true(gaps_sockets_parse(listener, false, &s));
	assert_int_equal(s.inode, 12345);
	assert_int_equal(s.local_port, 9471);
	assert_true(s.listens);
	assert_true(gaps_sockets_parse(quic, true, &s));
	assert_int_equal(s.inode, 77);
	assert_int_equal(s.local_port, 443);
	assert_true(s.udp);
	assert_false(gaps_sockets_parse(listener, true, &s));
	/* UDP's state is no TCP state of use. */
	assert_false(gaps_sockets_parse(quic, false, &s));
	/* Any prefix without a digit of the inode is no line. */
	for (size_t n = 0; n < (size_t)(strstr(listener, "12345") - listener);
	     n++) {
		memcpy(part, listener, n);
		part[n] = '\0';
		assert_false(gaps_sockets_parse(part, false, &s));
	}
}

static void labels_are_found_wherever_they_lie(void **state)
{
	static const char label[] = "s ap traffic";
	const size_t part = 256 << 10;
	FILE *f = tmpfile();
	bool tls, go;

	(void)state;
	assert_non_null(f);
	for (size_t at = part - 16; at <= part + 4; at++) {
		assert_int_equal(ftruncate(fileno(f), 0), 0);
		assert_int_equal(pwrite(fileno(f), label, 12, (off_t)at), 12);
		assert_int_equal(
			gaps_tls_search(fileno(f), UINT64_MAX, &tls, &go), 0);
		assert_true(tls);
		assert_false(go);
	}
	fclose(f);
}

int main(void)
{
#define PROGRAM_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		PROGRAM_TEST(a_stripped_listener_with_its_own_tls_is_found),
		PROGRAM_TEST(a_client_is_found_by_the_port_of_its_peer),
		PROGRAM_TEST(go_is_told_apart_by_the_mark_of_its_linker),
		PROGRAM_TEST(another_library_is_found_by_what_is_in_it),
		PROGRAM_TEST(a_library_that_is_attached_to_is_none),
		PROGRAM_TEST(what_is_excluded_has_no_other_reason),
		PROGRAM_TEST(a_plain_program_is_none),
		PROGRAM_TEST(io_uring_is_one_where_the_front_end_is_blind),
		PROGRAM_TEST(
			a_32_bit_program_is_one_where_the_front_end_is_blind),
		cmocka_unit_test(lines_of_the_kernel_are_parsed),
		cmocka_unit_test(labels_are_found_wherever_they_lie),
	};

	return cmocka_run_group_tests_name("gaps", tests, NULL, NULL);
}
