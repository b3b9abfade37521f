{{- define "livecomments.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "livecomments.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "livecomments.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "livecomments.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "livecomments.selectorLabels" -}}
app.kubernetes.io/name: {{ include "livecomments.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of a resource. Call with (dict "root" $ "component" "reader"); the component may be left out. */}}
{{- define "livecomments.labels" -}}
{{ include "livecomments.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: livecomments
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Labels of a pod: those that selectors use, and the user's own. Versions are left out, so that an upgrade of the chart alone restarts nothing. */}}
{{- define "livecomments.podLabels" -}}
{{ include "livecomments.selectorLabels" .root }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Selects the pods of a component. */}}
{{- define "livecomments.componentLabels" -}}
{{ include "livecomments.selectorLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "livecomments.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "livecomments.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Image of a service: (dict "root" $ "service" "reader"). */}}
{{- define "livecomments.image" -}}
{{- $own := (index .root.Values .service).image }}
{{- $own | default (printf "%s/%s:%s" .root.Values.image.repository .service (.root.Values.image.tag | default .root.Chart.AppVersion)) }}
{{- end }}

{{/* What every pod has: (dict "root" $ "values" .Values.reader). Restricted, and with no way to the Kubernetes API. */}}
{{- define "livecomments.podSpec" -}}
serviceAccountName: {{ include "livecomments.serviceAccountName" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Whether there is a number: "true", or empty for null and for "", which stands for null where the chart is a part of another. */}}
{{- define "livecomments.given" -}}
{{- if not (has (kindOf .) (list "invalid" "string")) }}true{{ end }}
{{- end }}

{{/* Security of a pod that runs as a user, if one is given; else the user is left to the cluster. */}}
{{- define "livecomments.podSecurity" -}}
runAsNonRoot: true
{{- if include "livecomments.given" . }}
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "livecomments.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Spread over zones and nodes, each version of the pods for itself, where it can be: (dict "root" $ "component" "reader"). */}}
{{- define "livecomments.spread" -}}
{{- $values := index .root.Values .component }}
{{- if $values.topologySpreadConstraints }}
{{- toYaml $values.topologySpreadConstraints }}
{{- else }}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- include "livecomments.componentLabels" $ | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Probes of a container: (dict "port" "http" "scheme" "HTTP"), which is the default. Readiness of a service says that Redis was reached once, and that the pod is not stopping. */}}
{{- define "livecomments.probes" -}}
{{- $to := printf "port: %s, scheme: %s" (.port | default "http") (.scheme | default "HTTP") }}
startupProbe:
  httpGet: {path: /livez, {{ $to }}}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, {{ $to }}}
  periodSeconds: 5
  timeoutSeconds: 2
livenessProbe:
  httpGet: {path: /livez, {{ $to }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* Settings of all services. */}}
{{- define "livecomments.env.common" -}}
- name: INSTANCE_ID
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: LOG_LEVEL
  value: {{ .Values.log.level }}
- name: LOG_FORMAT
  value: {{ .Values.log.format }}
{{- end }}

{{/* Where the parts report. */}}
{{- define "livecomments.env.reports" -}}
- name: STATISTICS_API_URL
  value: http://{{ include "livecomments.fullname" . }}-statistics:{{ .Values.statistics.service.port }}
- name: REPORT_URL
  value: http://{{ include "livecomments.fullname" . }}-reports:5001
- name: REPORT_INTERVAL
  value: {{ .Values.statistics.reportInterval }}
{{- end }}

{{/* Where Redis is, for the Comment API, the readers and the Statistics API. */}}
{{- define "livecomments.env.redis" -}}
{{- if .Values.redis.enabled }}
- name: REDIS_HOST
  value: {{ include "livecomments.fullname" . }}-redis:6379
{{- if .Values.redis.auth.enabled }}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "livecomments.redis.secret" . }}, key: {{ include "livecomments.redis.secretKey" . }}}}
{{- end }}
{{- else }}
- name: REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.externalRedis.existingSecret | default (printf "%s-external-redis" (include "livecomments.fullname" .)) }}
      key: {{ if .Values.externalRedis.existingSecret }}{{ .Values.externalRedis.existingSecretKey }}{{ else }}redis-url{{ end }}
{{- with .Values.externalRedis.prefix }}
- name: REDIS_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- with .Values.externalRedis.tls }}
{{- if .caSecret }}
- name: REDIS_CA_FILE
  value: /etc/redis-tls/ca.crt
{{- end }}
{{- if .certSecret }}
- name: REDIS_CERT_FILE
  value: /etc/redis-tls/tls.crt
- name: REDIS_KEY_FILE
  value: /etc/redis-tls/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The videos' histories in it, for the Comment API and the readers. */}}
{{- define "livecomments.env.history" -}}
- name: HISTORY_LENGTH
  value: {{ int .Values.history.length | quote }}
- name: HISTORY_TTL
  value: {{ .Values.history.ttl }}
{{- end }}

{{/* The authority of an external Redis and the certificate for it, as a volume and its mount. */}}
{{- define "livecomments.redisTLS" -}}
{{- if and (not .Values.redis.enabled) (or .Values.externalRedis.tls.caSecret .Values.externalRedis.tls.certSecret) }}true{{ end }}
{{- end }}

{{- define "livecomments.redisTLS.mount" -}}
- {name: redis-tls, mountPath: /etc/redis-tls, readOnly: true}
{{- end }}

{{- define "livecomments.redisTLS.volume" -}}
{{- with .Values.externalRedis.tls -}}
- name: redis-tls
  projected:
    sources:
      {{- if .caSecret }}
      - secret:
          name: {{ .caSecret }}
          items: [{key: {{ .caSecretKey }}, path: ca.crt}]
      {{- end }}
      {{- if .certSecret }}
      - secret:
          name: {{ .certSecret }}
          items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
      {{- end }}
{{- end }}
{{- end }}

{{/* Annotations of a pod that speaks to Redis. A URL that the chart has put into a Secret is among them in a form from which it is slow to
guess the password (scrypt): so a change of it restarts the pod. */}}
{{- define "livecomments.redisAnnotations" -}}
{{- $annotations := deepCopy (.Values.podAnnotations | default dict) }}
{{- if not (or .Values.redis.enabled .Values.externalRedis.existingSecret) }}
{{- $url := derivePassword 1 "maximum" .Values.externalRedis.url .Release.Name .Release.Namespace | sha256sum }}
{{- $_ := set $annotations "checksum/redis-url" $url }}
{{- end }}
{{- with $annotations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* Port of Redis, for the policies: what is set, or that of an external URL, or the usual one. */}}
{{- define "livecomments.redis.port" -}}
{{- $port := .Values.networkPolicy.externalRedis.port }}
{{- if and (kindIs "invalid" $port) .Values.externalRedis.url }}
{{- $port = regexFind ":[0-9]+$" (urlParse .Values.externalRedis.url).host | trimPrefix ":" }}
{{- end }}
{{- int ($port | default 6379) }}
{{- end }}

{{/* Bytes of a size as redis.conf writes it, or of a Kubernetes quantity: (dict "of" "1gb" "units" $units). Empty for a unit that is not among them. */}}
{{- define "livecomments.bytes" -}}
{{- $text := ternary (toJson .of) (toString .of) (kindIs "float64" .of) }}
{{- $number := regexFind "^[0-9.]+" $text }}
{{- with get .units (trimPrefix $number $text) }}
{{- mulf (float64 $number) . }}
{{- end }}
{{- end }}

{{- define "livecomments.redis.secret" -}}
{{- .Values.redis.auth.existingSecret | default (printf "%s-redis" (include "livecomments.fullname" .)) }}
{{- end }}

{{- define "livecomments.redis.secretKey" -}}
{{- if .Values.redis.auth.existingSecret }}{{ .Values.redis.auth.existingSecretKey }}{{ else }}password{{ end }}
{{- end }}

{{/* The user's own settings of a service, by name. A number as JSON has it: in a template 1000000 is 1e+06. */}}
{{- define "livecomments.env.own" -}}
{{- range $name, $value := .env }}
- name: {{ $name }}
  value: {{ ternary (toJson $value) $value (kindIs "float64" $value) | quote }}
{{- end }}
{{- end }}

{{/* Whether more than one pod of a component can run; called with its values. */}}
{{- define "livecomments.several" -}}
{{- if dig "autoscaling" "enabled" false . }}
{{- if gt (int .autoscaling.maxReplicas) 1 }}true{{ end }}
{{- else if or (not (include "livecomments.given" .replicas)) (gt (int .replicas) 1) }}true{{ end }}
{{- end }}
