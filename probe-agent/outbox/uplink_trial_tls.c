/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "probe-agent/outbox/uplink_state.h"

/*
 * TLS as the uplink speaks it, with the library that nng has in this process
 * already, so that what it finds wrong is what nng does.
 */

#define HANDSHAKE_NS (5 * CLOCK_NS_PER_S)

struct uplink_trial_tls {
	int fd;
	uint8_t first[4]; /* what the peer said first */
	size_t n_first;
	bool has_cert;
	char names[128]; /* of the peer's certificate */
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context random;
	mbedtls_x509_crt ca, cert;
	mbedtls_pk_context key;
	mbedtls_ssl_config config;
	mbedtls_ssl_context ssl;
};

/* --- our own files --- */

static int bad_file(struct uplink_trial *t, const char *what, const char *file,
		    int code)
{
	char text[128];

	mbedtls_strerror(code, text, sizeof(text));
	return uplink_trial_fail(
		t, UPLINK_SETUP,
		"the file must be PEM, and readable for the agent's user",
		"%s %s: %s", what, file, text);
}

static int read_key(struct uplink_trial_tls *s, const char *file)
{
#if MBEDTLS_VERSION_MAJOR >= 3
	return mbedtls_pk_parse_keyfile(&s->key, file, NULL,
					mbedtls_ctr_drbg_random, &s->random);
#else
	return mbedtls_pk_parse_keyfile(&s->key, file, NULL);
#endif
}

static int is_pair(struct uplink_trial_tls *s)
{
#if MBEDTLS_VERSION_MAJOR >= 3
	return mbedtls_pk_check_pair(&s->cert.pk, &s->key,
				     mbedtls_ctr_drbg_random, &s->random);
#else
	return mbedtls_pk_check_pair(&s->cert.pk, &s->key);
#endif
}

/* An aggregator refuses these without saying why. */
static int check_own(const struct uplink_trial_tls *s,
		     const struct uplink_options *opt, struct uplink_trial *t)
{
	const mbedtls_x509_time *end = &s->cert.valid_to;

	if (mbedtls_x509_time_is_past(end))
		return uplink_trial_fail(
			t, UPLINK_SETUP, "renew it",
			"cert_file %s expired on %04d-%02d-%02d",
			opt->cert_file, end->year, end->mon, end->day);
	if (mbedtls_x509_time_is_future(&s->cert.valid_from))
		return uplink_trial_fail(
			t, UPLINK_SETUP, "compare the clocks of both hosts",
			"cert_file %s is not valid yet", opt->cert_file);
	return 0;
}

static int read_files(struct uplink_trial_tls *s,
		      const struct uplink_options *opt, struct uplink_trial *t)
{
	const char *key = opt->key_file ? opt->key_file : opt->cert_file;
	int code;

	if (!opt->ca_file)
		return uplink_trial_fail(
			t, UPLINK_SETUP,
			"give tls.ca_file, the CA that signed the aggregator's "
			"certificate",
			"ca_file is missing");
	code = mbedtls_x509_crt_parse_file(&s->ca, opt->ca_file);
	if (code)
		return bad_file(t, "ca_file", opt->ca_file, code);
	if (!opt->cert_file)
		return 0;
	code = mbedtls_x509_crt_parse_file(&s->cert, opt->cert_file);
	if (code)
		return bad_file(t, "cert_file", opt->cert_file, code);
	code = read_key(s, key);
	if (code)
		return bad_file(t, "key_file", key, code);
	s->has_cert = true;
	if (is_pair(s))
		return uplink_trial_fail(t, UPLINK_SETUP,
					 "give the key that cert_file was made "
					 "with",
					 "key_file %s is not that of cert_file "
					 "%s",
					 key, opt->cert_file);
	return check_own(s, opt, t);
}

/* --- the socket, below TLS --- */

static int again_or(int code)
{
	return errno == EAGAIN || errno == EINTR ? code : -errno;
}

static int below_send(void *arg, const unsigned char *data, size_t len)
{
	const struct uplink_trial_tls *s = arg;
	ssize_t n = send(s->fd, data, len, MSG_NOSIGNAL);

	return n < 0 ? again_or(MBEDTLS_ERR_SSL_WANT_WRITE) : (int)n;
}

static int below_recv(void *arg, unsigned char *data, size_t len)
{
	struct uplink_trial_tls *s = arg;
	ssize_t n = recv(s->fd, data, len, 0);

	for (ssize_t i = 0; i < n && s->n_first < sizeof(s->first); i++)
		s->first[s->n_first++] = data[i];
	return n < 0 ? again_or(MBEDTLS_ERR_SSL_WANT_READ) : (int)n;
}

/* --- the handshake --- */

/* "a, b": for whom the peer's certificate is. */
static void list_names(const mbedtls_x509_crt *crt, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (const mbedtls_x509_sequence *s = &crt->subject_alt_names;
	     s && s->buf.p && n < size; s = s->next)
		if ((s->buf.tag & 0x1f) == 2) /* a DNS name */
			n += (size_t)snprintf(out + n, size - n, "%s%.*s",
					      n ? ", " : "", (int)s->buf.len,
					      (const char *)s->buf.p);
	if (n == 0)
		snprintf(out, size, "no DNS name");
}

/* Called for each certificate of the chain, while there is one. */
static int note_names(void *arg, mbedtls_x509_crt *crt, int depth,
		      uint32_t *flags)
{
	struct uplink_trial_tls *s = arg;

	(void)flags;
	if (depth == 0)
		list_names(crt, s->names, sizeof(s->names));
	return 0;
}

static int not_trusted(const struct uplink_trial_tls *s, const char *host,
		       struct uplink_trial *t)
{
	uint32_t flags = mbedtls_ssl_get_verify_result(&s->ssl);
	char text[256];

	if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
		return uplink_trial_fail(
			t, UPLINK_TLS,
			"write a host that is a DNS name of the certificate, "
			"or give it one for this host",
			"the aggregator's certificate is for %s, not for %s",
			s->names, host);
	if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
		return uplink_trial_fail(t, UPLINK_TLS, "renew it",
					 "the aggregator's certificate has "
					 "expired");
	if (flags & MBEDTLS_X509_BADCERT_FUTURE)
		return uplink_trial_fail(t, UPLINK_TLS,
					 "compare the clocks of both hosts",
					 "the aggregator's certificate is not "
					 "valid yet");
	if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
		return uplink_trial_fail(
			t, UPLINK_TLS,
			"give as ca_file the CA that signed the aggregator's "
			"certificate",
			"the aggregator's certificate is not signed by ca_file");
	if (mbedtls_x509_crt_verify_info(text, sizeof(text), "", flags) <= 0)
		strcpy(text, "unknown");
	text[strcspn(text, "\n")] = '\0';
	return uplink_trial_fail(t, UPLINK_TLS, "", "%s", text);
}

static int is_refused(const struct uplink_trial_tls *s, struct uplink_trial *t)
{
	if (!s->has_cert)
		return uplink_trial_fail(
			t, UPLINK_TLS, "give tls.cert_file and tls.key_file",
			"the aggregator wants a certificate of the agent");
	return uplink_trial_fail(
		t, UPLINK_TLS,
		"the CA in the aggregator's ingest.tls.ca_file must have "
		"signed cert_file; its log names the cause",
		"the aggregator refused our certificate");
}

static int shake_failed(const struct uplink_trial_tls *s, int code,
			const char *host, struct uplink_trial *t)
{
	char text[128];

	if (s->n_first == 4 && !memcmp(s->first, "\0SP", 4))
		return uplink_trial_fail(
			t, UPLINK_TLS,
			"write tcp://, or give the aggregator certificates and "
			"a tls+tcp:// address",
			"it speaks without TLS there");
	/* It has shown its certificate, which is fine, and left. */
	if (*s->names && (code == MBEDTLS_ERR_SSL_CONN_EOF || code == -EPIPE ||
			  code == -ECONNRESET))
		return is_refused(s, t);
	switch (code) {
	case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
		return not_trusted(s, host, t);
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return is_refused(s, t);
	case MBEDTLS_ERR_SSL_WANT_READ:
	case MBEDTLS_ERR_SSL_WANT_WRITE:
		return uplink_trial_fail(t, UPLINK_TLS,
					 "is it the aggregator's ingest port?",
					 "no answer to a TLS handshake");
	case MBEDTLS_ERR_SSL_CONN_EOF:
		return uplink_trial_fail(
			t, UPLINK_TLS,
			"is it the aggregator's ingest port, with TLS? its log "
			"names the cause",
			"it closed the connection during the TLS handshake");
	default:
		if (code > -200) /* of below_recv() */
			snprintf(text, sizeof(text), "%s", strerror(-code));
		else
			mbedtls_strerror(code, text, sizeof(text));
		return uplink_trial_fail(t, UPLINK_TLS, "", "TLS: %s", text);
	}
}

static int shake(struct uplink_trial_tls *s, const char *host,
		 struct uplink_trial *t)
{
	uint64_t until = clock_mono_ns() + HANDSHAKE_NS;
	int code;

	do
		code = mbedtls_ssl_handshake(&s->ssl);
	while ((code == MBEDTLS_ERR_SSL_WANT_READ ||
		code == MBEDTLS_ERR_SSL_WANT_WRITE) &&
	       clock_mono_ns() < until);
	return code ? shake_failed(s, code, host, t) : 0;
}

static int set_up(struct uplink_trial_tls *s, const char *host)
{
	int code = mbedtls_ssl_config_defaults(
		&s->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
		MBEDTLS_SSL_PRESET_DEFAULT);

	if (code)
		return code;
	mbedtls_ssl_conf_rng(&s->config, mbedtls_ctr_drbg_random, &s->random);
	mbedtls_ssl_conf_verify(&s->config, note_names, s);
	mbedtls_ssl_conf_authmode(&s->config, MBEDTLS_SSL_VERIFY_REQUIRED);
	mbedtls_ssl_conf_ca_chain(&s->config, &s->ca, NULL);
	if (s->has_cert)
		code = mbedtls_ssl_conf_own_cert(&s->config, &s->cert, &s->key);
	if (!code)
		code = mbedtls_ssl_setup(&s->ssl, &s->config);
	if (!code)
		code = mbedtls_ssl_set_hostname(&s->ssl, host);
	mbedtls_ssl_set_bio(&s->ssl, s, below_send, below_recv, NULL);
	return code;
}

int uplink_trial_tls_open(struct uplink_trial_tls **out,
			  const struct uplink_options *opt, const char *host,
			  int fd, struct uplink_trial *t)
{
	struct uplink_trial_tls *s = calloc(1, sizeof(*s));
	int err;

	*out = s;
	if (!s)
		return -ENOMEM;
	s->fd = fd;
	mbedtls_entropy_init(&s->entropy);
	mbedtls_ctr_drbg_init(&s->random);
	mbedtls_x509_crt_init(&s->ca);
	mbedtls_x509_crt_init(&s->cert);
	mbedtls_pk_init(&s->key);
	mbedtls_ssl_config_init(&s->config);
	mbedtls_ssl_init(&s->ssl);
	if (mbedtls_ctr_drbg_seed(&s->random, mbedtls_entropy_func, &s->entropy,
				  NULL, 0))
		return -EIO;
	err = read_files(s, opt, t);
	if (!err && set_up(s, host))
		err = -ENOMEM;
	return err ? err : shake(s, host, t);
}

void uplink_trial_tls_free(struct uplink_trial_tls *s)
{
	if (!s)
		return;
	mbedtls_ssl_close_notify(&s->ssl);
	mbedtls_ssl_free(&s->ssl);
	mbedtls_ssl_config_free(&s->config);
	mbedtls_pk_free(&s->key);
	mbedtls_x509_crt_free(&s->cert);
	mbedtls_x509_crt_free(&s->ca);
	mbedtls_ctr_drbg_free(&s->random);
	mbedtls_entropy_free(&s->entropy);
	free(s);
}

static ssize_t as_errno(int code)
{
	if (code >= 0)
		return code;
	if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY ||
	    code == MBEDTLS_ERR_SSL_CONN_EOF)
		return 0;
	if (code == MBEDTLS_ERR_SSL_WANT_READ ||
	    code == MBEDTLS_ERR_SSL_WANT_WRITE)
		errno = EAGAIN;
	else
		errno = code > -200 ? -code : EIO;
	return -1;
}

ssize_t uplink_trial_tls_send(struct uplink_trial_tls *s, const void *data,
			      size_t len)
{
	return as_errno(mbedtls_ssl_write(&s->ssl, data, len));
}

ssize_t uplink_trial_tls_recv(struct uplink_trial_tls *s, void *data,
			      size_t len)
{
	return as_errno(mbedtls_ssl_read(&s->ssl, data, len));
}
