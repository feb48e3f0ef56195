{{- define "redtap.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" }}
{{- end }}

{{- define "redtap.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- $name := include "redtap.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "redtap.aggregator" -}}
{{ include "redtap.fullname" . }}-aggregator
{{- end }}

{{- define "redtap.agent" -}}
{{ include "redtap.fullname" . }}-agent
{{- end }}

{{- define "redtap.selector" -}}
app.kubernetes.io/name: {{ include "redtap.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "redtap.labels" -}}
{{ include "redtap.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: redtap
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "redtap.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository -}}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "redtap.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "redtap.aggregator.account" -}}
{{- $a := .Values.aggregator.serviceAccount }}
{{- if $a.create }}{{ $a.name | default (include "redtap.aggregator" .) }}{{ else }}{{ $a.name | default "default" }}{{ end }}
{{- end }}

{{- define "redtap.agent.account" -}}
{{- $a := .Values.agent.serviceAccount }}
{{- if $a.create }}{{ $a.name | default (include "redtap.agent" .) }}{{ else }}{{ $a.name | default "default" }}{{ end }}
{{- end }}

{{- define "redtap.tls" -}}
{{- if ne .Values.ingest.tls.mode "none" }}true{{ end }}
{{- end }}

{{- define "redtap.tls.server" -}}
{{- if eq .Values.ingest.tls.mode "secret" }}{{ .Values.ingest.tls.secret.server }}{{ else }}{{ include "redtap.aggregator" . }}-tls{{ end }}
{{- end }}

{{- define "redtap.tls.agent" -}}
{{- if eq .Values.ingest.tls.mode "secret" }}{{ .Values.ingest.tls.secret.agent }}{{ else }}{{ include "redtap.agent" . }}-tls{{ end }}
{{- end }}

{{- define "redtap.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ .terminationGracePeriodSeconds }}
{{- end }}
