{{/* What a schema cannot say: settings that do not go together. Each is one sentence that names the setting. */}}
{{- define "livecomments.validate" -}}
{{- if and (not .Values.redis.enabled) (not .Values.externalRedis.url) (not .Values.externalRedis.existingSecret) }}
{{- fail "externalRedis.url or externalRedis.existingSecret must be set when redis.enabled is false" }}
{{- end }}
{{- if and .Values.redis.enabled (or .Values.externalRedis.url .Values.externalRedis.existingSecret .Values.externalRedis.tls.caSecret .Values.externalRedis.tls.certSecret) }}
{{- fail "externalRedis is set, but redis.enabled is true: set redis.enabled to false to use it" }}
{{- end }}
{{- with .Values.externalRedis }}
{{- if and .url (not .existingSecret) (not (hasPrefix "rediss://" .url)) }}
{{- range $secret := list "caSecret" "certSecret" }}
{{- if index $.Values.externalRedis.tls $secret }}
{{- fail (printf "externalRedis.tls.%s needs an externalRedis.url that begins with rediss://" $secret) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.redis.enabled }}
{{- $limit := dig "limits" "memory" "" (.Values.redis.resources | default dict) }}
{{- $available := include "livecomments.bytes" (dict "of" $limit "units" (dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776)) }}
{{- $wanted := include "livecomments.bytes" (dict "of" (lower .Values.redis.maxmemory) "units" (dict "" 1 "b" 1 "k" 1e3 "m" 1e6 "g" 1e9 "kb" 1024 "mb" 1048576 "gb" 1073741824)) }}
{{- if and $limit $available (ge (float64 $wanted) (float64 $available)) }}
{{- fail (printf "redis.maxmemory=%s must be less than redis.resources.limits.memory=%v, at which the kernel kills Redis" .Values.redis.maxmemory $limit) }}
{{- end }}
{{- end }}
{{- range $component := list "comment" "reader" }}
{{- $values := index $.Values $component }}
{{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) }}
{{- fail (printf "%s.autoscaling.minReplicas=%d must not be more than maxReplicas=%d" $component (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) }}
{{- end }}
{{- if and $values.corsCredentials (eq (trim $values.corsOrigins) "*") }}
{{- fail (printf "%s.corsCredentials needs %s.corsOrigins to name the origins: browsers send no credentials where it is *" $component $component) }}
{{- end }}
{{- $byCPU := dig "cpu" "enabled" true $values.autoscaling }}
{{- if and $values.autoscaling.enabled $byCPU (not (dig "requests" "cpu" "" ($values.resources | default dict))) }}
{{- fail (printf "%s.resources.requests.cpu must be set when %s.autoscaling goes by CPU, which is in percent of it" $component $component) }}
{{- end }}
{{- end }}
{{- with .Values.reader.autoscaling }}
{{- if and .enabled (not .cpu.enabled) (not .connections.enabled) }}
{{- fail "reader.autoscaling needs cpu.enabled or connections.enabled" }}
{{- end }}
{{- if and .connections.enabled (gt (int .connections.averageValue) (int $.Values.reader.maxConnections)) }}
{{- fail (printf "reader.autoscaling.connections.averageValue=%d must not be more than reader.maxConnections=%d" (int .connections.averageValue) (int $.Values.reader.maxConnections)) }}
{{- end }}
{{- end }}
{{- with .Values.reader.drain }}
{{- if ge (int .periodSeconds) (int .timeoutSeconds) }}
{{- fail (printf "reader.drain.periodSeconds=%d must be less than timeoutSeconds=%d" (int .periodSeconds) (int .timeoutSeconds)) }}
{{- end }}
{{- end }}
{{- include "livecomments.validate.routing" . }}
{{- if and .Values.client.enabled (gt (int .Values.client.videos) (int .Values.client.viewers)) }}
{{- fail (printf "client.videos=%d must not be more than client.viewers=%d" (int .Values.client.videos) (int .Values.client.viewers)) }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "ingress.hosts must name at least one host when ingress.enabled is true" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs must name at least one Gateway when httpRoute.enabled is true" }}
{{- end }}
{{- end }}
