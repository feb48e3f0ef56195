/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/keeper_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define FIRST_PAUSE_MS 200u
#define LONGEST_PAUSE_MS 60000u
/* A worker that lived this long was no failed start. */
#define LIVED_NS (60 * CLOCK_NS_PER_S)

/* --- the socket --- */

union rights {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static int send_fd(int control, const struct keeper_process_news *news, int fd)
{
	struct keeper_process_news copy = *news;
	union rights rights = { { 0 } };
	struct iovec iov = { &copy, sizeof(copy) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = rights.bytes,
		.msg_controllen = sizeof(rights.bytes),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(control, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int keeper_process_receive(int control, struct keeper_process_news *out,
			   int *fd)
{
	union rights rights = { { 0 } };
	struct iovec iov = { out, sizeof(*out) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = rights.bytes,
		.msg_controllen = sizeof(rights.bytes),
	};
	ssize_t n = recvmsg(control, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n == 0)
		return -EPIPE;
	c = CMSG_FIRSTHDR(&msg);
	if (n != sizeof(*out) || !c || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return 0;
}

void keeper_process_stop(int control)
{
	send(control, "s", 1, MSG_NOSIGNAL);
}

/* --- the keeper --- */

struct state {
	const struct keeper_options *opt;
	int control;
	struct worker_page *page;
	bool stopping;
};

static pid_t start_worker(struct state *s, int *end)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		close(s->control);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "redtap-programs");
		_exit(worker_run(&s->opt->worker, pair[1], s->page));
	}
	close(pair[1]);
	if (pid < 0) {
		int err = -errno;

		close(pair[0]);
		return err;
	}
	*end = pair[0];
	return pid;
}

static void set_aside(struct state *s, int status)
{
	struct worker_page *page = s->page;
	unsigned n = page->n_quarantined;
	char how[64];

	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "%s", strsignal(WTERMSIG(status)));
	else
		snprintf(how, sizeof(how), "exit status %d",
			 WEXITSTATUS(status));
	log_error("the worker of programs died how=\"%s\" program=%s doing=%s",
		  how, page->program[0] ? page->program : "none",
		  page->doing[0] ? page->doing : "none");
	page->program[sizeof(page->program) - 1] = '\0';
	if (!page->program[0] || n == WORKER_QUARANTINE_MAX)
		return;
	memcpy(page->quarantined[n].program, page->program,
	       sizeof(page->program));
	snprintf(page->quarantined[n].reason,
		 sizeof(page->quarantined[n].reason),
		 "its worker process died at %s: %s; it is left alone until "
		 "the agent starts again",
		 page->doing, how);
	page->n_quarantined++;
}

/* Has the agent a word? False: it is gone. */
static bool hear_agent(struct state *s)
{
	char byte;

	if (recv(s->control, &byte, 1, MSG_DONTWAIT) == 0)
		return false;
	s->stopping = true;
	return true;
}

/* Waits until the worker is over, or the agent. False: the agent. */
static bool wait_for(struct state *s, pid_t pid, int *status)
{
	/* A process's fd is readable when it is over (Linux 5.3). */
	int over = (int)syscall(SYS_pidfd_open, pid, 0);
	bool lives = true;

	while (lives && waitpid(pid, status, WNOHANG) != pid) {
		struct pollfd p[] = {
			{ .fd = s->control, .events = POLLIN },
			{ .fd = over, .events = POLLIN },
		};

		if (poll(p, 2, over < 0 ? 50 : -1) > 0 && p[0].revents)
			lives = hear_agent(s);
	}
	if (over >= 0)
		close(over);
	return lives;
}

/* False: the agent is gone. */
static bool pause_for(struct state *s, unsigned ms)
{
	struct pollfd p = { .fd = s->control, .events = POLLIN };

	return poll(&p, 1, (int)ms) <= 0 || hear_agent(s);
}

static void keep_workers(struct state *s)
{
	unsigned pause_ms = FIRST_PAUSE_MS;

	while (!s->stopping) {
		uint64_t start_ns = clock_mono_ns();
		struct keeper_process_news news = {
			.quarantined = s->page->n_quarantined,
		};
		int end = -1, status = 0;
		pid_t pid;

		s->page->program[0] = s->page->doing[0] = '\0';
		pid = start_worker(s, &end);
		if (pid < 0 || send_fd(s->control, &news, end)) {
			log_error("cannot start a worker of programs "
				  "error=\"%s\"",
				  strerror(pid < 0 ? -pid : errno));
			if (pid > 0)
				kill(pid, SIGKILL);
		}
		if (end >= 0)
			close(end);
		if (pid > 0 && !wait_for(s, pid, &status)) {
			kill(pid, SIGKILL);
			return;
		}
		/* It ended because the agent hung up, or told it to. */
		if (pid > 0 && (!WIFEXITED(status) || WEXITSTATUS(status)))
			set_aside(s, status);
		if (clock_mono_ns() - start_ns > LIVED_NS)
			pause_ms = FIRST_PAUSE_MS;
		if (!pause_for(s, pause_ms))
			return;
		pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2
							   : LONGEST_PAUSE_MS;
	}
}

static void be_keeper(const struct keeper_options *opt, int control)
{
	struct state s = { .opt = opt, .control = control };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "redtap-keeper");
	/* The agent ends both, after the last counts. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (opt->drop && opt->drop(opt->worker.xdp))
		_exit(1);
	s.page = mmap(NULL, sizeof(*s.page), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s.page == MAP_FAILED)
		_exit(1);
	keep_workers(&s);
	_exit(0);
}

int keeper_process_start(const struct keeper_options *opt, int *process)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		be_keeper(opt, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		int err = -errno;

		close(pair[0]);
		return err;
	}
	*process = pid;
	return pair[0];
}
