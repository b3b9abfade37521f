package chart_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// redirectTo are values under which viewers are sent to an address; more settings of the reader can follow.
func redirectTo(url string) string {
	return "routing: {mode: redirect}\nreader:\n  advertise: {url: '" + url + "'}"
}

func TestOneReaderMayHaveAnyAddress(t *testing.T) {
	one := redirectTo("https://live.example.org") + "\n  autoscaling: {enabled: false}\n  replicas: 1"
	assert.Equal(t, "https://live.example.org", env(t, render(t, one).pods(t)["reader"])["ADVERTISE_URL"].Value)
}

func TestBadValuesAreRefusedWithTheReason(t *testing.T) {
	for values, reason := range map[string]string{
		// What a schema says.
		"routing: {mode: sticky}":                                        "at '/routing/mode': value must be one of 'random', 'redirect', 'gateway'",
		"routing: {mode: null}":                                          "at '/routing': missing property 'mode'",
		"routing: {loadBound: 0}":                                        "at '/routing/loadBound': minimum: got 0, want 0.01",
		"routing: {moveRate: 2}":                                         "at '/routing/moveRate': maximum: got 2, want 1",
		"reader: {hostPort: 65536}":                                      "at '/reader/hostPort': maximum: got 65,536, want 65,535",
		"reader: {advertise: {url: live.example.org}}":                   "at '/reader/advertise/url': 'live.example.org' does not match pattern",
		"reader: {advertise: {url: 'wss://$(HOST_IP)'}}":                 "at '/reader/advertise/url': 'wss://$(HOST_IP)' does not match pattern",
		"reader: {env: {ROUTING: hash}}":                                 "at '/reader/env/ROUTING': false schema",
		"gateway: {maxConnections: 0}":                                   "at '/gateway/maxConnections': minimum: got 0, want 1",
		"gateway: {image: {tag: 3.2}}":                                   "at '/gateway/image/tag': got number, want string",
		"gateway: {drain: {timeoutSeconds: 0}}":                          "at '/gateway/drain/timeoutSeconds': minimum: got 0, want 1",
		"readers: {replicas: 3}":                                         "additional properties 'readers' not allowed",
		"reader: {replica: 3}":                                           "at '/reader': additional properties 'replica' not allowed",
		"reader: {autoscaling: {cpu: {utilization: 70}}}":                "at '/reader/autoscaling/cpu': additional properties 'utilization' not allowed",
		"reader: {replicas: -1}":                                         "at '/reader/replicas': minimum: got -1, want 0",
		"reader: {replicas: three}":                                      "at '/reader/replicas': 'three' does not match pattern",
		"runAsUser: '0'":                                                 "at '/runAsUser': '0' does not match pattern",
		"redis: {runAsUser: 0}":                                          "at '/redis/runAsUser': minimum: got 0, want 1",
		"comment: {replicas: 1.5}":                                       "at '/comment/replicas': got number, want null or integer or string",
		"reader: {autoscaling: {minReplicas: 0}}":                        "at '/reader/autoscaling/minReplicas': minimum: got 0, want 1",
		"reader: {autoscaling: {cpu: {averageUtilization: 101}}}":        "at '/reader/autoscaling/cpu/averageUtilization': maximum: got 101, want 100",
		"comment: {autoscaling: {averageUtilization: 0}}":                "at '/comment/autoscaling/averageUtilization': minimum: got 0, want 1",
		"reader: {autoscaling: {connections: {source: prometheus}}}":     "at '/reader/autoscaling/connections/source': value must be one of 'adapter', 'keda'",
		"reader: {autoscaling: {connections: {prometheusUrl: prom:90}}}": "at '/reader/autoscaling/connections/prometheusUrl': 'prom:90' does not match pattern",
		"reader: {maxConnections: 0}":                                    "at '/reader/maxConnections': minimum: got 0, want 1",
		"reader: {heartbeat: 15}":                                        "at '/reader/heartbeat': got number, want string",
		"reader: {heartbeat: 15 seconds}":                                "at '/reader/heartbeat': '15 seconds' does not match pattern",
		"reader: {heartbeat: 0s}":                                        "at '/reader/heartbeat': '0s' does not match pattern",
		"reader: {heartbeat: null}":                                      "at '/reader': missing property 'heartbeat'",
		"reader: {streamLifetime: 1d}":                                   "at '/reader/streamLifetime': '1d' does not match pattern",
		"reader: {drain: {timeoutSeconds: 0}}":                           "at '/reader/drain/timeoutSeconds': minimum: got 0, want 1",
		"reader: {drain: {preStopSeconds: 5s}}":                          "at '/reader/drain/preStopSeconds': got string, want integer",
		"reader: {corsOrigins: ''}":                                      "at '/reader/corsOrigins': '' does not match pattern",
		"reader: {corsCredentials: 'yes'}":                               "at '/reader/corsCredentials': got string, want boolean",
		"comment: {env: {CORS_CREDENTIALS: true}}":                       "at '/comment/env/CORS_CREDENTIALS': false schema",
		"reader: {service: {type: ExternalName}}":                        "at '/reader/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
		"reader: {service: {port: 65536}}":                               "at '/reader/service/port': maximum: got 65,536, want 65,535",
		"reader: {service: {type: NodePort, nodePort: 3000}}":            "at '/reader/service/nodePort': minimum: got 3,000, want 30,000",
		"reader: {service: {nodePort: 30400}}":                           "at '/reader/service/nodePort': got number, want null",
		"reader: {pdb: {maxUnavailable: 0}}":                             "at '/reader/pdb/maxUnavailable': minimum: got 0, want 1",
		"reader: {pdb: {maxUnavailable: half}}":                          "at '/reader/pdb/maxUnavailable': 'half' does not match pattern",
		"reader: {resources: {requests: {cpu: half}}}":                   "at '/reader/resources/requests/cpu': 'half' does not match pattern",
		"reader: {env: {bufferFrames: 5000}}":                            "at '/reader/env': additional properties 'bufferFrames' not allowed",
		"reader: {env: {BUFFER_FRAMES: null}}":                           "at '/reader/env/BUFFER_FRAMES': got null",
		"reader: {env: {BUFFER_FRAMES: [1]}}":                            "at '/reader/env/BUFFER_FRAMES': got array",
		"reader: {nodeSelector: {a: true}}":                              "at '/reader/nodeSelector/a': got boolean, want string",
		"reader: {tolerations: {key: a}}":                                "at '/reader/tolerations': got object, want array",
		"comment: {publishTimeout: soon}":                                "at '/comment/publishTimeout': 'soon' does not match pattern",
		"history: {length: 0}":                                           "at '/history/length': minimum: got 0, want 1",
		"history: {length: 100001}":                                      "at '/history/length': maximum: got 100,001, want 100,000",
		"history: {ttl: 500ms}":                                          "at '/history/ttl': '500ms' does not match pattern",
		"statistics: {replicas: 2}":                                      "at '/statistics': additional properties 'replicas' not allowed",
		"statistics: {rateWindow: 0s}":                                   "at '/statistics/rateWindow': '0s' does not match pattern",
		"statistics: {pages: {enabled: 'yes'}}":                          "at '/statistics/pages/enabled': got string, want boolean",
		"statistics: {pages: {readerUrl: live.example.org}}":             "at '/statistics/pages/readerUrl': 'live.example.org' does not match pattern",
		"statistics: {pages: {commentUrl: 'https://me@host'}}":           "at '/statistics/pages/commentUrl': 'https://me@host' does not match pattern",
		"client: {viewers: 0}":                                           "at '/client/viewers': minimum: got 0, want 1",
		"client: {popularity: zip}":                                      "at '/client/popularity': value must be one of 'uniform', 'three-tier', 'zipf', 'celebrity'",
		"client: {connectRate: 0}":                                       "at '/client/connectRate': exclusiveMinimum: got 0, want 0",
		"client: {commentsPerMinute: -1}":                                "at '/client/commentsPerMinute': minimum: got -1, want 0",
		"log: {level: trace}":                                            "at '/log/level': value must be one of 'debug', 'info', 'warn', 'error'",
		"log: {format: text}":                                            "at '/log/format': value must be one of 'json', 'console'",
		"image: {tag: 1.5}":                                              "at '/image/tag': got number, want string",
		"image: {pullPolicy: Sometimes}":                                 "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
		"image: {pullSecrets: [registry]}":                               "at '/image/pullSecrets/0': got string, want object",
		"nameOverride: Live":                                             "at '/nameOverride': 'Live' does not match pattern",
		"fullnameOverride: " + strings.Repeat("a", 41):                   "at '/fullnameOverride': maxLength: got 41, want 40",
		"commonLabels: {app.kubernetes.io/name: a}":                      "at '/commonLabels/app.kubernetes.io~1name': false schema",
		"commonLabels: {a: true}":                                        "at '/commonLabels/a': got boolean, want string",
		"podAnnotations: {a: 1}":                                         "at '/podAnnotations/a': got number, want string",
		"redis: {maxmemory: 1073741824}":                                 "at '/redis/maxmemory': got number, want string",
		"redis: {maxmemory: 1Gi}":                                        "at '/redis/maxmemory': '1Gi' does not match pattern",
		"redis: {persistence: {size: 8gb}}":                              "at '/redis/persistence/size': '8gb' does not match pattern",
		"redis: {persistence: {appendfsync: sometimes}}":                 "at '/redis/persistence/appendfsync': value must be one of 'everysec', 'always'",
		"externalRedis: {url: 'http://redis'}":                           "at '/externalRedis/url': 'http://redis' does not match pattern",
		"networkPolicy: {externalRedis: {port: redis}}":                  "at '/networkPolicy/externalRedis/port': got string, want null or integer",
		"networkPolicy: {readerFrom: [10.0.0.0/8]}":                      "at '/networkPolicy/readerFrom/0': got string, want object",
		"ingress: {enabled: true, hosts: ['https://live.example.org']}":  "at '/ingress/hosts/0': 'https://live.example.org' does not match pattern",
		"ingress: {enabled: 'yes'}":                                      "at '/ingress/enabled': got string, want boolean",
		"monitoring: {serviceMonitor: {interval: 15}}":                   "at '/monitoring/serviceMonitor/interval': got number, want string",
		"monitoring: {prometheusRule: {alertLabels: {a-b: c}}}":          "at '/monitoring/prometheusRule/alertLabels': additional properties 'a-b' not allowed",
		"tests: {seconds: 0}":                                            "at '/tests/seconds': minimum: got 0, want 1",
		// What does not go together, or is not there.
		"routing: {mode: redirect}":                            "routing.mode=redirect needs reader.advertise.url or reader.hostPort: the address at which viewers reach each reader",
		redirectTo("https://live.example.org"):                 "reader.advertise.url=https://live.example.org is the same for all readers: it needs $(POD_IP), $(HOST_IP) or $(NODE_NAME) in it",
		redirectTo("https://$(POD_NAME).example.org"):          "reader.advertise.url=https://$(POD_NAME).example.org has $(POD_NAME), and can have $(POD_IP), $(HOST_IP) and $(NODE_NAME)",
		redirectTo("https://$(HOST_IP"):                        "has $(HOST_IP, and can have",
		"reader: {hostPort: 4000}":                             "reader.hostPort is for routing.mode=redirect, where viewers go to each reader by itself: unset it for routing.mode=gateway",
		"{routing: {mode: random}, reader: {hostPort: 4000}}":  "unset it for routing.mode=random",
		"reader: {advertise: {url: 'http://$(HOST_IP)'}}":      "reader.advertise.url is for routing.mode=redirect",
		"gateway: {readers: 19}":                               "gateway.readers=19 must not be less than reader.autoscaling.maxReplicas=20: it would not know the others",
		"gateway: {timeout: 15s}":                              "gateway.timeout=15s must be longer than reader.heartbeat=15s: the gateway would cut every quiet stream",
		"{gateway: {timeout: 1m}, reader: {heartbeat: 1m1s}}":  "gateway.timeout=1m must be longer than reader.heartbeat=1m1s",
		"gateway: {timeout: 60}":                               "at '/gateway/timeout': got number, want string",
		"gateway: {threads: 0}":                                "at '/gateway/threads': minimum: got 0, want 1",
		"reader: {tls: {secretName: live-tls}}":                "reader.tls.secretName does not go with routing.mode=gateway: the gateway speaks plain HTTP to the readers, and TLS belongs in front of it",
		"redis: {enabled: false}":                              "externalRedis.url or externalRedis.existingSecret must be set when redis.enabled is false",
		"externalRedis: {url: 'redis://redis'}":                "externalRedis is set, but redis.enabled is true: set redis.enabled to false to use it",
		"externalRedis: {existingSecret: redis}":               "externalRedis is set, but redis.enabled is true",
		"reader: {resources: null}":                            "reader.resources.requests.cpu must be set when reader.autoscaling goes by CPU, which is in percent of it",
		"reader: {corsCredentials: true}":                      "reader.corsCredentials needs reader.corsOrigins to name the origins: browsers send no credentials where it is *",
		"comment: {corsCredentials: true, corsOrigins: ' * '}": "comment.corsCredentials needs comment.corsOrigins to name the origins: browsers send no credentials where it is *",
		"reader: {autoscaling: {minReplicas: 21}}":             "reader.autoscaling.minReplicas=21 must not be more than maxReplicas=20",
		"comment: {autoscaling: {maxReplicas: 1}}":             "comment.autoscaling.minReplicas=2 must not be more than maxReplicas=1",
		"reader: {autoscaling: {cpu: {enabled: false}}}":       "reader.autoscaling needs cpu.enabled or connections.enabled",
		"reader: {drain: {periodSeconds: 45}}":                 "reader.drain.periodSeconds=45 must be less than timeoutSeconds=45",
		"client: {enabled: true, videos: 301}":                 "client.videos=301 must not be more than client.viewers=300",
		"ingress: {enabled: true}":                             "ingress.hosts must name at least one host when ingress.enabled is true",
		"httpRoute: {enabled: true}":                           "httpRoute.parentRefs must name at least one Gateway when httpRoute.enabled is true",
		"externalRedis: {tls: {caSecret: redis-ca}}":           "externalRedis is set, but redis.enabled is true",

		"monitoring: {prometheusRule: {enabled: true, disabled: [Typo]}}":                                   "monitoring.prometheusRule.disabled has no alert Typo",
		redirectTo("http://$(HOST_IP):4000") + "\n  tls: {secretName: live-tls}":                            "reader.advertise.url=http://$(HOST_IP):4000 must be https://, because the readers speak TLS (reader.tls.secretName)",
		"{gateway: {readers: 4}, reader: {replicas: 5, autoscaling: {enabled: false}}}":                     "gateway.readers=4 must not be less than reader.replicas=5",
		"reader: {maxConnections: 5000, autoscaling: {connections: {enabled: true}}}":                       "reader.autoscaling.connections.averageValue=6000 must not be more than reader.maxConnections=5000",
		"{redis: {enabled: false}, externalRedis: {url: 'redis://redis', tls: {caSecret: redis-ca}}}":       "externalRedis.tls.caSecret needs an externalRedis.url that begins with rediss://",
		"{redis: {enabled: false}, externalRedis: {url: 'redis://redis', tls: {certSecret: redis-client}}}": "externalRedis.tls.certSecret needs an externalRedis.url that begins with rediss://",
	} {
		t.Run(values, func(t *testing.T) {
			_, err := install(load(t), values)
			require.ErrorContains(t, err, reason)
		})
	}
}

func TestRedisMustHaveMoreMemoryThanItMayUse(t *testing.T) {
	for _, test := range []struct {
		maxmemory, limit string
		ok               bool
	}{
		{"1gb", "2Gi", true},
		{"2gb", "2Gi", false},
		{"2g", "2Gi", true},
		{"4GB", "2Gi", false},
		{"2047mb", "2048Mi", true},
		{"2148M", "2Gi", false},
		{"2gb", "2G", false},
		{"1g", "1.5G", true},
		{"1gb", "1073741825", true},
		{"1073741824", "1048576Ki", false},
		{"1b", "'1'", false},
		{"1000kb", "1M", false},
		// Rare units are not looked at, nor is a Redis without a limit.
		{"1gb", "'1e3'", true},
		{"1gb", "1000m", true},
		{"64gb", "null", true},
	} {
		values := fmt.Sprintf("redis: {maxmemory: %q, resources: {limits: {memory: %s}}}", test.maxmemory, test.limit)
		_, err := install(load(t), values)
		if test.ok {
			require.NoError(t, err, values)
		} else {
			require.ErrorContains(t, err, "redis.maxmemory="+test.maxmemory+" must be less than redis.resources.limits.memory=", values)
		}
	}
	_, err := install(load(t), "redis: {maxmemory: 4gb}")
	require.ErrorContains(t, err, "redis.maxmemory=4gb must be less than redis.resources.limits.memory=2Gi, at which the kernel kills Redis")
	_, err = install(load(t), "redis: {maxmemory: 4gb, enabled: false}\nexternalRedis: {url: 'redis://redis'}")
	require.NoError(t, err)
}

func TestOriginsAreRefusedWhereNoBrowserSendsThem(t *testing.T) {
	for _, origins := range []string{
		"*", " * ", "https://app.example.org", "https://app.example.org/", "HTTPS://App.Example.org:443", "http://localhost:8080",
		"http://[::1]:3000", "https://bücher.example", "https://a.example, https://b.example/", "https://a.example,https://b.example",
	} {
		made, err := install(load(t), fmt.Sprintf("{reader: {corsOrigins: %q}, comment: {corsOrigins: %q}}", origins, origins))
		require.NoError(t, err, origins)
		for _, component := range []string{"reader", "comment"} {
			assert.Equal(t, origins, env(t, made.pods(t)[component])["CORS_ORIGINS"].Value)
		}
	}
	for _, origins := range []string{
		"app.example.org", "localhost:3000", "https://app.example.org/watch", "https://app.example.org//", "https://app.example.org?a=b",
		"https://app.example.org#a", "https://me:secret@app.example.org", "wss://app.example.org", "null", "https://*.example.org",
		"*,https://a.example", "https://a.example,*", "https://a.example,null", "https://a.example https://b.example", "https://",
		"https://:443", "https://a.example:port", " ", ",",
	} {
		for _, component := range []string{"reader", "comment"} {
			_, err := install(load(t), fmt.Sprintf("%s: {corsOrigins: %q}", component, origins))
			require.ErrorContains(t, err, fmt.Sprintf("at '/%s/corsOrigins': '%s' does not match pattern", component, origins))
		}
	}
	with := render(t, "reader: {corsOrigins: 'https://app.example.org', corsCredentials: true}").pods(t)
	assert.Equal(t, "true", env(t, with["reader"])["CORS_CREDENTIALS"].Value)
	assert.Equal(t, "false", env(t, with["comment"])["CORS_CREDENTIALS"].Value)
}

func TestTheExamplesOfTheREADMEAreValues(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(chartDir, "README.md"))
	require.NoError(t, err)
	examples := regexp.MustCompile("(?s)\n```yaml\n(.*?)```\n").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		if strings.HasPrefix(example[1], "prometheus:") {
			continue // those of prometheus-adapter
		}
		_, err := install(load(t), example[1])
		require.NoError(t, err, example[1])
	}
}

func TestTheSchemaHasEveryValueAndNothingElse(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	require.NoError(t, err)
	var schema map[string]any
	require.NoError(t, json.Unmarshal(text, &schema))
	text, err = os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	require.NoError(t, err)
	var values map[string]any
	require.NoError(t, yaml.Unmarshal(text, &values))
	// For the condition of a chart that this one is a part of.
	values["enabled"] = true

	compare(t, "", values, schema, schema["definitions"].(map[string]any))
}

func compare(t *testing.T, path string, values, schema, definitions map[string]any) {
	t.Helper()
	properties, described := schema["properties"].(map[string]any)
	if schema["additionalProperties"] != false || schema["patternProperties"] != nil || !described {
		// Names are the operator's, or Kubernetes'.
		return
	}
	assert.ElementsMatch(t, sorted(values), sorted(properties), "of %s/", path)
	for key, value := range values {
		property, _ := properties[key].(map[string]any)
		if name, referred := property["$ref"].(string); referred {
			property = definitions[strings.TrimPrefix(name, "#/definitions/")].(map[string]any)
		}
		assert.True(t, property["type"] != nil || property["enum"] != nil, "%s/%s may be anything", path, key)
		if values, nested := value.(map[string]any); nested {
			assert.Equal(t, "object", property["type"], "of %s/%s", path, key)
			compare(t, path+"/"+key, values, property, definitions)
		}
	}
}
