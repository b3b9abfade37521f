{{/* http, or https where the readers have a certificate. */}}
{{- define "livecomments.reader.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.reader.tls.secretName)) }}
{{- end }}

{{/* Where a reader is reached by those who are sent to it, and empty where nobody says. Kubernetes puts in what stands in $(). */}}
{{- define "livecomments.advertiseURL" -}}
{{- with .Values.reader }}
{{- if .advertise.url }}{{ .advertise.url }}
{{- else if .hostPort }}{{ include "livecomments.reader.scheme" $ }}://$(HOST_IP):{{ .hostPort }}
{{- end }}
{{- end }}
{{- end }}

{{/* The port in it. */}}
{{- define "livecomments.advertisePort" -}}
{{- $url := include "livecomments.advertiseURL" . }}
{{- $host := regexReplaceAll "^[^/]+//([^/?#]*).*$" $url "${1}" }}
{{- regexFind ":[0-9]+$" $host | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https" (lower $url))) }}
{{- end }}

{{/* Where a viewer belongs. */}}
{{- define "livecomments.env.routing" -}}
{{- with .Values.routing }}
- name: ROUTING
  value: {{ ternary "random" "bounded" (eq .mode "random") }}
{{- if ne .mode "random" }}
{{- if eq .mode "redirect" }}
# Those that come before ADVERTISE_URL can stand in it.
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: HOST_IP
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: ADVERTISE_URL
  value: {{ include "livecomments.advertiseURL" $ | quote }}
{{- end }}
- name: LOAD_BOUND
  value: {{ .loadBound | quote }}
- name: MOVE_RATE
  value: {{ .moveRate | quote }}
{{- if eq .mode "gateway" }}
- name: BEHIND_GATEWAY
  value: "true"
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where the simulated viewers post and watch. */}}
{{- define "livecomments.env.apis" -}}
{{- $fullname := include "livecomments.fullname" . }}
{{- if eq .Values.routing.mode "gateway" }}
{{- $gateway := printf "http://%s-gateway:%d" $fullname (int .Values.gateway.service.port) }}
- name: COMMENT_API_URL
  value: {{ $gateway }}
- name: READER_API_URLS
  value: {{ $gateway }}
{{- else }}
- name: COMMENT_API_URL
  value: http://{{ $fullname }}-comment:{{ .Values.comment.service.port }}
- name: READER_API_URLS
  value: {{ include "livecomments.reader.scheme" . }}://{{ $fullname }}-reader:{{ .Values.reader.service.port }}
{{- end }}
{{- if include "livecomments.readerCA" . }}
- name: READER_CA_FILE
  value: /etc/reader-ca/ca.crt
{{- end }}
{{- end }}

{{/* Whether the pages come from outside without a gateway. */}}
{{- define "livecomments.pages.routed" -}}
{{- $outside := or .Values.ingress.enabled .Values.httpRoute.enabled }}
{{- with .Values.statistics.pages }}{{ if and .enabled .public $outside (ne $.Values.routing.mode "gateway") }}true{{ end }}{{ end }}
{{- end }}

{{/* The paths that the pages and what they need have, and the type of each. */}}
{{- define "livecomments.pages.paths" -}}
{"/": "Exact", "/watch": "Exact", "/client.js": "Exact", "/pages.json": "Exact", "/fleet": "Exact", "/viewers": "Exact", "/assets": "Prefix"}
{{- end }}

{{/* The first address of all from outside, empty where there is none. */}}
{{- define "livecomments.outside" -}}
{{- $addresses := list }}
{{- if .Values.ingress.enabled }}
{{- range .Values.ingress.hosts }}{{ $addresses = append $addresses (printf "http%s://%s" (ternary "s" "" (not (empty $.Values.ingress.tls))) .) }}{{ end }}
{{- else if .Values.httpRoute.enabled }}
{{- range .Values.httpRoute.hostnames }}{{ $addresses = append $addresses (print "https://" .) }}{{ end }}
{{- end }}
{{- range $addresses | reverse }}{{ if not (contains "*" .) }}{{ $addresses = list . }}{{ end }}{{ end }}
{{- with $addresses }}{{ if not (contains "*" (first .)) }}{{ first . }}{{ end }}{{ end }}
{{- end }}

{{/* Whether the pages are where the readers and the Comment API are: behind one address. */}}
{{- define "livecomments.pages.together" -}}
{{- if eq .Values.routing.mode "gateway" }}{{ if .Values.gateway.statistics }}true{{ end }}
{{- else }}{{ include "livecomments.pages.routed" . }}
{{- end }}
{{- end }}

{{/* The pages, and where a browser finds the other parts: where it has the page from, or from outside, or where the notes forward ports. */}}
{{- define "livecomments.env.pages" -}}
{{- $reader := include "livecomments.outside" . }}
{{- $comment := $reader }}
{{- if include "livecomments.pages.together" . }}
{{- $reader = "" }}
{{- $comment = "" }}
{{- else if $reader }}
{{- else if eq .Values.routing.mode "gateway" }}
{{- $reader = "http://localhost:8080" }}
{{- $comment = $reader }}
{{- else }}
{{- $reader = printf "%s://localhost:4000" (include "livecomments.reader.scheme" .) }}
{{- $comment = "http://localhost:3000" }}
{{- end }}
{{- with .Values.statistics.pages }}
- name: PAGES
  value: {{ .enabled | quote }}
{{- if .enabled }}
- name: PAGES_READER_URL
  value: {{ .readerUrl | default $reader | quote }}
- name: PAGES_COMMENT_URL
  value: {{ .commentUrl | default $comment | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The authority of the readers' certificate, for the simulated viewers, as a volume and its mount: without the key. */}}
{{- define "livecomments.readerCA" -}}
{{- with .Values.reader.tls }}{{ if and .secretName .caSecretKey }}true{{ end }}{{ end }}
{{- end }}

{{- define "livecomments.readerCA.mount" -}}
- {name: reader-ca, mountPath: /etc/reader-ca, readOnly: true}
{{- end }}

{{- define "livecomments.readerCA.volume" -}}
- name: reader-ca
  secret:
    secretName: {{ .Values.reader.tls.secretName }}
    items: [{key: {{ .Values.reader.tls.caSecretKey }}, path: ca.crt}]
{{- end }}

{{/* A length of time such as 1m30s, in seconds. */}}
{{- define "livecomments.seconds" -}}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- $sum = addf $sum (mulf (float64 (trimSuffix $unit .)) (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit)) }}
{{- end }}
{{- $sum }}
{{- end }}

{{/* What a schema cannot say of the routing. */}}
{{- define "livecomments.validate.routing" -}}
{{- $mode := .Values.routing.mode }}
{{- with .Values.reader }}
{{- if ne $mode "redirect" }}
{{- if .hostPort }}
{{- fail (printf "reader.hostPort is for routing.mode=redirect, where viewers go to each reader by itself: unset it for routing.mode=%s" $mode) }}
{{- end }}
{{- if .advertise.url }}
{{- fail (printf "reader.advertise.url is for routing.mode=redirect, where viewers go to each reader by itself: unset it for routing.mode=%s" $mode) }}
{{- end }}
{{- end }}
{{- if and (eq $mode "gateway") .tls.secretName }}
{{- fail "reader.tls.secretName does not go with routing.mode=gateway: the gateway speaks plain HTTP to the readers, and TLS belongs in front of it, in ingress.tls or the Gateway of httpRoute" }}
{{- end }}
{{- if eq $mode "gateway" }}
{{- $setting := ternary "reader.autoscaling.maxReplicas" "reader.replicas" .autoscaling.enabled }}
{{- $readers := int (ternary .autoscaling.maxReplicas .replicas .autoscaling.enabled) }}
{{- if gt $readers (int $.Values.gateway.readers) }}
{{- fail (printf "gateway.readers=%d must not be less than %s=%d: it would not know the others" (int $.Values.gateway.readers) $setting $readers) }}
{{- end }}
{{- end }}
{{- if eq $mode "gateway" }}
{{- if le (float64 (include "livecomments.seconds" $.Values.gateway.timeout)) (float64 (include "livecomments.seconds" .heartbeat)) }}
{{- fail (printf "gateway.timeout=%s must be longer than reader.heartbeat=%s: the gateway would cut every quiet stream" $.Values.gateway.timeout .heartbeat) }}
{{- end }}
{{- end }}
{{- if eq $mode "redirect" }}
{{- $url := include "livecomments.advertiseURL" $ }}
{{- if not $url }}
{{- fail "routing.mode=redirect needs reader.advertise.url or reader.hostPort: the address at which viewers reach each reader" }}
{{- end }}
{{- $names := regexFindAll "\\$\\([^)]*\\)?" $url -1 }}
{{- range $names }}
{{- if not (has . (list "$(POD_IP)" "$(HOST_IP)" "$(NODE_NAME)")) }}
{{- fail (printf "reader.advertise.url=%s has %s, and can have $(POD_IP), $(HOST_IP) and $(NODE_NAME)" $url .) }}
{{- end }}
{{- end }}
{{- if and (not $names) (include "livecomments.several" .) }}
{{- fail (printf "reader.advertise.url=%s is the same for all readers: it needs $(POD_IP), $(HOST_IP) or $(NODE_NAME) in it" $url) }}
{{- end }}
{{- if and .tls.secretName (hasPrefix "http:" (lower $url)) }}
{{- fail (printf "reader.advertise.url=%s must be https://, because the readers speak TLS (reader.tls.secretName)" $url) }}
{{- end }}
{{- end }}
{{- if and .hostPort .hostPortChecks }}
{{- include "livecomments.validate.hostPort" $ }}
{{- end }}
{{- end }}
{{- end }}

{{/*
A fleet with host ports that the cluster would refuse, or could run only half of, is not begun. Away from the cluster, as with
helm template, lookup finds nothing, and the notes say what to look at.
*/}}
{{- define "livecomments.validate.hostPort" -}}
{{- $level := dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "" (lookup "v1" "Namespace" "" .Release.Namespace) }}
{{- if has $level (list "baseline" "restricted") }}
{{- fail (printf "reader.hostPort=%d is refused in the namespace %s, whose label pod-security.kubernetes.io/enforce is %s: install into a namespace where it is privileged, or use reader.advertise.url or another routing.mode" (int .Values.reader.hostPort) .Release.Namespace $level) }}
{{- end }}
{{- $nodes := (lookup "v1" "Node" "" "").items }}
{{- $room := 0 }}
{{- range $nodes }}
{{- if include "livecomments.canRunReader" (dict "node" . "reader" $.Values.reader) }}
{{- $room = add1 $room }}
{{- end }}
{{- end }}
{{- with .Values.reader }}
{{- $setting := ternary "reader.autoscaling.minReplicas" "reader.replicas" .autoscaling.enabled }}
{{- $readers := int (ternary .autoscaling.minReplicas .replicas .autoscaling.enabled) }}
{{- if and $nodes (gt $readers (int $room)) }}
{{- fail (printf "%s=%d is more than the %d nodes that can run a reader: with reader.hostPort there is one reader a node" $setting $readers (int $room)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether readers may be scheduled to a node: (dict "node" NODE "reader" .Values.reader). Kubernetes' own taints come and go with the node's health. */}}
{{- define "livecomments.canRunReader" -}}
{{- $can := not (dig "spec" "unschedulable" false .node) }}
{{- $labels := dig "metadata" "labels" dict .node }}
{{- range $key, $value := .reader.nodeSelector }}
{{- if ne (get $labels $key) $value }}{{ $can = false }}{{ end }}
{{- end }}
{{- range $taint := dig "spec" "taints" list .node }}
{{- $borne := or (eq $taint.effect "PreferNoSchedule") (hasPrefix "node.kubernetes.io/" $taint.key) }}
{{- range $.reader.tolerations }}
{{- $key := or (eq (default "" .key) $taint.key) (and (not .key) (eq (default "Equal" .operator) "Exists")) }}
{{- $value := or (eq (default "Equal" .operator) "Exists") (eq (default "" .value) (default "" $taint.value)) }}
{{- if and $key $value (has (default "" .effect) (list "" $taint.effect)) }}{{ $borne = true }}{{ end }}
{{- end }}
{{- if not $borne }}{{ $can = false }}{{ end }}
{{- end }}
{{- if $can }}true{{ end }}
{{- end }}
