/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ingest/gate_tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "aggregator/ingest/gate_credentials.h"

#define NAME_BYTES 256
#define NAMES_MAX 8

struct gate_tls {
	struct gate_credentials *credentials;
	gnutls_session_t session;
	int fd;
	bool done; /* handshake complete, names valid */
	uint8_t first[4]; /* what the peer said first */
	size_t n_first;
	int64_t expires_s; /* the peer's certificate, unix time; 0: unknown */
	struct gate_tls_failure failure;
	unsigned n_names;
	char name[NAMES_MAX][NAME_BYTES];
};

/* --- one connection --- */

int gate_tls_open(struct gate_tls **out, int fd)
{
	struct gate_tls *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->fd = fd;
	t->failure.cause = REFUSALS;
	t->credentials = gate_credentials_hold();
	if (!t->credentials ||
	    gnutls_init(&t->session, GNUTLS_SERVER | GNUTLS_NONBLOCK |
					     GNUTLS_NO_SIGNAL) < 0) {
		gate_credentials_rele(t->credentials);
		free(t);
		return -ENOMEM;
	}
	gnutls_set_default_priority(t->session);
	gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE,
			       gate_credentials_cert(t->credentials));
	gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_cert(t->session, NULL, 0);
	gnutls_transport_set_int(t->session, fd);
	*out = t;
	return 0;
}

void gate_tls_close(struct gate_tls *t)
{
	if (!t)
		return;
	if (t->done)
		gnutls_bye(t->session, GNUTLS_SHUT_WR);
	gnutls_deinit(t->session);
	gate_credentials_rele(t->credentials);
	free(t);
}

/* Takes the DNS names; without any, the common name (RFC 6125). */
static void take_names(struct gate_tls *t)
{
	const gnutls_datum_t *chain;
	gnutls_x509_crt_t crt;
	unsigned n = 0;
	size_t len;

	chain = gnutls_certificate_get_peers(t->session, &n);
	if (!chain || n == 0 || gnutls_x509_crt_init(&crt) < 0)
		return;
	if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) < 0) {
		gnutls_x509_crt_deinit(crt);
		return;
	}
	t->expires_s = (int64_t)gnutls_x509_crt_get_expiration_time(crt);
	for (unsigned i = 0; t->n_names < NAMES_MAX; i++) {
		int kind;

		len = NAME_BYTES;
		kind = gnutls_x509_crt_get_subject_alt_name(
			crt, i, t->name[t->n_names], &len, NULL);
		if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		/* A name with a NUL inside would compare as a shorter one. */
		if (kind == GNUTLS_SAN_DNSNAME &&
		    strnlen(t->name[t->n_names], NAME_BYTES) == len)
			t->n_names++;
	}
	len = NAME_BYTES;
	if (t->n_names == 0 &&
	    gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
					  0, t->name[0], &len) == 0 &&
	    strnlen(t->name[0], NAME_BYTES) == len)
		t->n_names = 1;
	gnutls_x509_crt_deinit(crt);
}

/* --- the handshake, and why it failed --- */

static void say_certificate(struct gate_tls *t)
{
	unsigned status = gnutls_session_get_verify_cert_status(t->session);
	gnutls_datum_t text = { NULL, 0 };

	gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509,
						     &text, 0);
	t->failure.cause = REFUSAL_CERTIFICATE;
	snprintf(t->failure.text, sizeof(t->failure.text), "%s",
		 text.data ? (const char *)text.data : "not valid");
	gnutls_free(text.data);
}

/* True: what came first is no record of TLS. */
static bool is_plain(const struct gate_tls *t)
{
	return t->first[0] != 0x16 && t->first[0] != 0x15;
}

static void say_why(struct gate_tls *t, int err)
{
	struct gate_tls_failure *f = &t->failure;

	f->cause = REFUSAL_TLS;
	if (is_plain(t)) {
		f->cause = REFUSAL_PLAIN;
		snprintf(f->text, sizeof(f->text), "%s",
			 memcmp(t->first, "\0SP", 3) == 0
				 ? "the peer does not use TLS: its agent needs "
				   "tls+tcp://"
				 : "the peer does not speak TLS");
	} else if (err == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) {
		say_certificate(t);
	} else if (err == GNUTLS_E_NO_CERTIFICATE_FOUND ||
		   err == GNUTLS_E_CERTIFICATE_REQUIRED) {
		f->cause = REFUSAL_NO_CERTIFICATE;
		snprintf(f->text, sizeof(f->text),
			 "the peer has no certificate: its agent needs "
			 "tls.cert_file and tls.key_file");
	} else if (err == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		const char *alert =
			gnutls_alert_get_name(gnutls_alert_get(t->session));

		snprintf(f->text, sizeof(f->text),
			 "the peer refused the aggregator's certificate or "
			 "parameters: %s",
			 alert ? alert : "unknown alert");
	} else {
		snprintf(f->text, sizeof(f->text), "%s", gnutls_strerror(err));
	}
}

/* Keeps what the peer said first, to tell what it speaks instead of TLS. */
static void note_first(struct gate_tls *t)
{
	ssize_t n;

	if (t->n_first > 0)
		return;
	n = recv(t->fd, t->first, sizeof(t->first), MSG_PEEK);
	t->n_first = n > 0 ? (size_t)n : 0;
}

int gate_tls_handshake(struct gate_tls *t)
{
	int err;

	note_first(t);
	err = gnutls_handshake(t->session);
	if (!err) {
		take_names(t);
		t->done = true;
		return 0;
	}
	if (!gnutls_error_is_fatal(err))
		return -EAGAIN;
	/* A peer that hangs up before it has said anything is no failure. */
	if (t->n_first > 0)
		say_why(t, err);
	gnutls_alert_send_appropriate(t->session, err);
	return -EPROTO;
}

/* Warnings and what else is not fatal: the caller tries again later. */
static ssize_t from_gnutls(ssize_t n)
{
	if (n >= 0)
		return n;
	return gnutls_error_is_fatal((int)n) ? -EIO : -EAGAIN;
}

ssize_t gate_tls_recv(struct gate_tls *t, void *to, size_t len)
{
	return from_gnutls(gnutls_record_recv(t->session, to, len));
}

ssize_t gate_tls_send(struct gate_tls *t, const void *from, size_t len)
{
	return from_gnutls(gnutls_record_send(t->session, from, len));
}

bool gate_tls_peer_is(const struct gate_tls *t, const char *name)
{
	for (unsigned i = 0; t->done && i < t->n_names; i++)
		if (strcasecmp(t->name[i], name) == 0)
			return true;
	return false;
}

int64_t gate_tls_peer_expires(const struct gate_tls *t)
{
	return t->expires_s;
}

const struct gate_tls_failure *gate_tls_why(const struct gate_tls *t)
{
	return &t->failure;
}

/* --- the files --- */

int gate_tls_use(const struct gate_tls_files *files)
{
	return gate_credentials_use(files);
}
