/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_TAP_H
#define BPF_TAP_H

/*
 * Records that the kernel side writes into the ring buffer and the agent
 * reads. Shared by both, so fixed-width types only. Also the format of a
 * recorded tap (probe-agent/tap/recording.h), so that a record is the same
 * bytes on every architecture we support (all are little endian).
 *
 *   OPEN   process and addresses of a connection; precedes its first DATA
 *          record, and comes again when another process takes it over
 *   DATA   bytes copied out of one call, in stream order per direction
 *   END    one direction ended: the program read EOF, or shut its side down
 *   CLOSE  the socket is gone: no call can be under way on it; the last record
 *          of a connection. Its time and error are those of when TCP ended,
 *          which can be long before
 *
 * Positions (pos, rx_seq, tx_seq) are TCP sequence numbers: 32 bit, wrapping,
 * counted by the kernel whatever path the bytes took (sendfile, splice). FINs
 * are not counted. Times are CLOCK_MONOTONIC nanoseconds, 0 for never.
 */

#ifdef __bpf__
/* kernel.h has the types */
#else
#include <assert.h>
#include <linux/types.h>
#include <stddef.h>
#endif

enum tap_type {
	TAP_OPEN = 1,
	TAP_DATA = 2,
	TAP_END = 3,
	TAP_CLOSE = 4,
};

/* Direction as seen from the watched socket. */
enum tap_dir {
	TAP_RX = 0, /* bytes that the program read */
	TAP_TX = 1, /* bytes that the program wrote */
};

enum tap_flag {
	/* First piece of a call: data[0] is the first byte the call moved. */
	TAP_F_CALL_START = 1 << 0,
	/* The core recognised data[0] as the start of an HTTP message. */
	TAP_F_MESSAGE_START = 1 << 1,
	/*
	 * Sent when a write began, although it may have to wait for room,
	 * because the peer's answer may be seen before the write returns:
	 * call_len is the length asked for, and last_ns is 0. A write that is
	 * refused and tried again comes again with the same pos; tx_seq never
	 * passes one that never succeeds.
	 */
	TAP_F_ENTRY = 1 << 2,
	/* Bytes after this piece were not copied although they could matter. */
	TAP_F_TRUNCATED = 1 << 3,
	/* Plain text from inside TLS; positions count plain text bytes. */
	TAP_F_TLS = 1 << 4,
	/*
	 * data[0] is where the message before it ends: its body was followed,
	 * or what lies between holds no message.
	 */
	TAP_F_FRAMED = 1 << 5,
	/*
	 * Went with the SYN (TCP fast open): done.rx_seq is not known yet, and
	 * is in the next record.
	 */
	TAP_F_SYN = 1 << 7,
	/* HTTP/2: the record is a struct tap_rec_h2, with these flags only. */
	TAP_F_H2 = 1 << 6,
	TAP_F_H2_REQUESTS = 1 << 0, /* requests travel in this direction */
	TAP_F_H2_OPENED = 1 << 1, /* followed from the client's preface on */
};

/*
 * What stands at a direction's position `due`, as far as the kernel side has
 * followed it.
 */
enum tap_place {
	PLACE_UNKNOWN, /* where the next message begins is not known */
	PLACE_HEAD, /* an open head */
	PLACE_HEAD_BODY, /* an open head of a method that usually comes with a
			    body */
	PLACE_HEAD_LENGTH, /* an open head that has given a length, which is in
			      due */
	PLACE_HEAD_CODED, /* an open head that has given a transfer coding */
	PLACE_MESSAGE, /* the next message; due may be ahead */
	PLACE_BODY, /* a body; chunked, if it begins with a size */
	/* Inside of a chunked body. */
	PLACE_SIZE_FIRST, /* the first digit of a size */
	PLACE_SIZE,
	PLACE_EXTENSION, /* behind a size, up to the end of the line */
	PLACE_DATA, /* a chunk's data, which ends at due */
	PLACE_DATA_CR, /* behind the CR after that */
	PLACE_TRAILER, /* a line after the last chunk */
	PLACE_TRAILER_CR, /* behind a CR that began such a line */
	PLACE_TRAILER_LINE, /* inside such a line */
	/* Before a message. */
	PLACE_BLANK, /* line ends */
	PLACE_PROXY, /* the line of the PROXY protocol */
	PLACE_PROXY2, /* its binary header */
};

/* What the kernel side knows of the order of a message. */
enum tap_turn {
	/* A request: the one before it is answered, or its answer has begun. */
	TAP_TURN_ANSWERED = 1 << 0,
	/* The connection has never pipelined, so all before it are. */
	TAP_TURN_ALL = 1 << 1,
	/* A response, to bytes that were inspected and began no message. */
	TAP_TURN_STRAY = 1 << 2,
	/* A request, whatever its first bytes look like. */
	TAP_TURN_REQUEST = 1 << 3,
};

/* Where the responses are, as records of the end of a connection say it. */
struct tap_rec_place {
	union {
		__u32 due;
		__u16 h2_seq[2]; /* of HTTP/2: the last records, by direction */
	};
	__u8 place; /* enum tap_place */
	__u8 pad[3];
};

/*
 * How far both directions had come when the record was made, without this
 * call's own bytes. Body bytes cost no records: they only show up here.
 */
struct tap_rec_progress {
	__u32 rx_seq; /* first byte not yet read by the program */
	__u32 tx_seq; /* first byte not yet written by the program */
	__u64 rx_ns; /* when the last byte was read */
	__u64 tx_ns; /* when the last byte was written */
};

struct tap_record {
	__u8 type; /* enum tap_type */
	__u8 dir; /* enum tap_dir; DATA, END */
	__u8 flags; /* enum tap_flag */
	__u8 front; /* front-end that saw it, enum tap_front */
	__u32 tgid; /* process that made the call; 0 in CLOSE */
	/* Connection identity: never (pid, fd). */
	__u64 sock; /* struct sock address; with TAP_TWIN: inside its TLS */
	__u64 born_ns; /* when the tap first saw it: the generation */
	struct tap_rec_progress done;
};

struct tap_rec_open {
	struct tap_record rec;
	/* process start, CLOCK_BOOTTIME; identifies a reused PID */
	__u64 start_ns;
	__u64 cgroup_id;
	__u16 family; /* AF_INET, AF_INET6 */
	__u16 local_port; /* host byte order */
	__u16 remote_port;
	__u16 pad;
	__u8 local_addr[16]; /* network order; IPv4 in the first 4 bytes */
	__u8 remote_addr[16];
	char comm[16]; /* of the process, not the thread; NUL-terminated */
};

struct tap_rec_data {
	struct tap_record rec;
	__u64 first_ns; /* tx: the call began; rx: the call returned */
	/*
	 * When the call returned, or began with room for all; 0: TAP_F_ENTRY.
	 */
	__u64 last_ns;
	__u32 pos; /* stream position of data[0] */
	__u32 call_len; /* bytes of the call from data[0] on */
	__u32 len; /* bytes copied, <= call_len */
	/* requests of the connection that found no room, counted; wraps */
	__u16 lost;
	__u8 turn; /* enum tap_turn, of a record that begins a message */
	__u8 pad;
	__u8 data[]; /* len bytes; the record may be padded after them */
};

/* A struct tap_rec_data with TAP_F_H2: see bpf/h2.bpf.h. */
struct tap_rec_h2 {
	struct tap_record rec;
	__u64 first_ns, last_ns;
	__u32 pos; /* of data[0], or where a frame ended */
	__u32 call_len;
	__u16 len; /* bytes copied; 0: a frame that ends a stream ended */
	__u16 seq; /* number of the record in its direction; wraps */
	/*
	 * At pos: payload bytes of an open frame still to come; above them, in
	 * eight bits, the bytes of a frame's head that have come.
	 */
	__u32 place;
	__u8 data[];
};

struct tap_end {
	struct tap_record rec;
	__u64 time_ns;
	struct tap_rec_place answers; /* where the responses are */
};

struct tap_rec_close {
	struct tap_record rec;
	__u64 time_ns;
	struct tap_rec_place answers; /* where the responses are */
	__u32 error; /* sk_err: 0, ECONNRESET, ETIMEDOUT, EPIPE … */
	__u32 pad;
};

enum tap_front {
	TAP_FRONT_NONE = 0,
	TAP_FRONT_SYSCALL = 1,
	TAP_FRONT_FENTRY = 2,
	TAP_FRONT_KPROBE = 3,
	TAP_FRONT_OPENSSL = 4,
	TAP_FRONT_GNUTLS = 5,
	TAP_FRONT_SOCKET = 6,
};

/*
 * Indexes of the per-CPU counters: requests whose first record found no room in
 * the ring, then what proto/agent_counters.def says.
 */
enum tap_counter {
	TAP_C_LOST_REQUESTS,
#define KERNEL_COUNTER(NAME, ...) TAP_C_##NAME,
#define AGENT_COUNTER(...)
#include "proto/agent_counters.def"
	TAP_C_MAX,
};

/* Of a connection that is backed off, one call in this many is inspected. */
#define TAP_RECHECK 64

enum tap_verdict {
	VERDICT_NEW, /* undecided */
	VERDICT_HTTP,
	VERDICT_OTHER, /* does not look like HTTP; inspected now and then */
	VERDICT_IGNORED, /* set by the agent: never inspected again */
	VERDICT_TLS, /* encrypted: never inspected; see bpf/tls.h */
	VERDICT_H2, /* HTTP/2: every frame is walked; see bpf/h2.bpf.h */
};

enum tap_conn_flag {
	/* OPEN was delivered, for the process in tgid. */
	CONN_OPENED = 1 << 0,
	/* Has pipelined: whole calls are copied from then on. */
	CONN_PIPELINED = 1 << 1,
	/* Whole response calls are copied until the next request. */
	CONN_WHOLE_ONCE = 1 << 2,
	/* A response has begun since the last request did. */
	CONN_ANSWERED = 1 << 3,
	/* END was sent for rx, tx. */
	CONN_ENDED_RX = 1 << 4,
	CONN_ENDED_TX = 1 << 5,
	/* The write under way is inspected when it returns. */
	CONN_LATE = 1 << 6,
	/* Bytes that began no request were copied where one was due. */
	CONN_STRAY = 1 << 7,
	/* The head of the last request said that its body is chunked. */
	CONN_CODED = 1 << 8,
	/* A write was taken in part or not at all: bytes up to tx_seen come
	   again. */
	CONN_AGAIN = 1 << 9,
	/* The role is that of a lone H: HEAD, or HTTP/ if that was wrong. */
	CONN_GUESSED = 1 << 10,
	/* What is followed began where a request was due by its turn only. */
	CONN_UNSURE = 1 << 11,
	/* The body of the last request may be left out: Expect. */
	CONN_EXPECTS = 1 << 12,
	/* A part of the open head found no room: no more of it is copied. */
	CONN_LOSING_RX = 1 << 13,
	CONN_LOSING_TX = 1 << 14,
	/* MPTCP: positions are counted here, as those of the plain text of TLS
	 */
	CONN_COUNTED = 1 << 15,
};

/* What is known of a connection that is, or may be, HTTP/2. */
enum tap_h2_flag {
	H2_OPENED = 1 << 0, /* followed from its begin on */
	/* The server's SETTINGS came first: the client's preface must follow.
	 */
	H2_EXPECTED = 1 << 1,
	/* By the shape of its bytes only: each call is checked. */
	H2_SHAPED = 1 << 2,
};

/*
 * What the core found in a call; of a write, what its return still has to do.
 */
enum tap_call_kind {
	CALL_UNKNOWN, /* not inspected, or could not be read */
	CALL_BODY, /* nothing to copy */
	CALL_COPY, /* bytes must be copied */
	CALL_SENT, /* copied when it began */
	CALL_DUE, /* the answer that is due: copied when it returns */
};

/*
 * Where HTTP/2 frames begin and end in one direction. All zero: a head comes
 * next. The rules are in bpf/h2_walk.bpf.h.
 */
struct tap_walk {
	__u32 next; /* position of the next byte */
	__u32 left; /* payload bytes still to come; of a head, its length */
	__u32 stream; /* of the head that is being read */
	__u32 last; /* highest stream that a request was seen on */
	__u16 seq; /* of the last record, lost ones too */
	__u8 have; /* bytes of a head that have come */
	__u8 type; /* of the open frame */
	__u8 flags;
	__u8 mark; /* enum h2_walk_mark */
};

/*
 * What the kernel side keeps of a connection. The key is the struct sock
 * address, or that of its twin. The agent reads progress, and writes verdicts.
 */
struct tap_conn {
	__u64 born_ns;
	struct tap_rec_progress done;
	__u64 tx_entry_ns; /* when the write under way began; 0: none */
	__u64 closed_ns; /* when TCP was done with it; 0: not yet */
	__u64 session; /* TLS session that uses the socket, in process tgid */
	__u32 tgid;
	__u32 request_pos; /* where the last request began */
	__u32 tx_seen; /* end of the write that was inspected when it began */
	/*
	 * By direction: of an open head the last four bytes; of a chunk the
	 * size; of a body with a length, where it began.
	 */
	__u32 tail[2];
	__u32 head_bytes[2]; /* bytes copied since a message began */
	__u32 due[2]; /* the position that place is about */
	__u16 single_len; /* shortest call that held just one request */
	__u16 recheck; /* calls until the next inspection */
	__u16 mmsg[2]; /* messages done of one sendmmsg() or recvmmsg() */
	__u16 lost; /* requests that found no room in the ring; wraps */
	/* the same, of the write that is under way or was refused */
	__u16 tx_lost;
	__u16 flags; /* enum tap_conn_flag */
	__u8 verdict; /* enum tap_verdict */
	__u8 role; /* direction of requests + 1; 0: not known */
	__u8 strikes; /* turns that did not look like HTTP */
	__u8 place[2]; /* enum tap_place, by direction */
	__u8 turn; /* enum tap_turn, of the last message that began */
	__u8 line; /* of a request's open head: see length.bpf.h */
	__u8 tx_kind; /* enum tap_call_kind */
	__u8 tx_look; /* what that write begins: enum classify_result */
	__u8 last_dir; /* direction of the last call without HTTP, + 1 */
	__u8 run; /* further calls without HTTP in that direction */
	__u8 front; /* enum tap_front; twins only */
	__u8 error; /* sk_err when TCP was done with it */
	__u8 h2; /* enum tap_h2_flag */
	__u8 shaped; /* frames that looked like HTTP/2 */
	struct tap_walk walk[2]; /* VERDICT_H2, by direction */
};

/*
 * Set in a socket's address: the key of its twin, the plain text inside its
 * TLS.
 */
#define TAP_TWIN 1
/* With TAP_TWIN: the plain text inside the TLS that goes through that TLS. */
#define TAP_INNER 2

#define TAP_PIECE_MAX 512 /* data bytes in one DATA record */

#ifndef __bpf__
static_assert(sizeof(struct tap_rec_progress) == 24, "wire of the ring");
static_assert(sizeof(struct tap_record) == 48, "wire of the ring");
static_assert(sizeof(struct tap_rec_open) == 120, "wire of the ring");
static_assert(offsetof(struct tap_rec_data, data) == 80, "wire of the ring");
static_assert(sizeof(struct tap_end) == 64, "wire of the ring");
static_assert(sizeof(struct tap_rec_close) == 72, "wire of the ring");
static_assert(offsetof(struct tap_rec_h2, data) ==
		      offsetof(struct tap_rec_data, data),
	      "one kind of record");
static_assert(sizeof(struct tap_walk) == 24, "value of tap_conns");
static_assert(sizeof(struct tap_conn) == 176, "value of tap_conns");
#endif

#endif /* BPF_TAP_H */
