package chart_test

// everything is all that the chart can make at once. What excludes each other is in sets of its own.
const everything = `
routing: {mode: random}
commonLabels: {team: video}
podAnnotations: {example.org/restarted: "1"}
image: {tag: 1.2.3, pullSecrets: [{name: registry}]}
serviceAccount: {annotations: {example.org/role: video}}
comment:
  autoscaling: {enabled: true}
  env: {BODY_LIMIT: 1048576}
  nodeSelector: {kubernetes.io/arch: amd64}
  tolerations: [{key: video, operator: Exists, effect: NoSchedule}]
  affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname}}]}}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}]
  priorityClassName: high
  pdb: {maxUnavailable: 50%}
  service: {type: LoadBalancer, annotations: {example.org/lb: "true"}}
reader:
  autoscaling: {connections: {enabled: true}}
  service: {type: NodePort, nodePort: 30400}
  env: {BUFFER_FRAMES: 5000, RETRY: 2s}
statistics:
  service: {port: 80}
client: {enabled: true, env: {VIDEO_PREFIX: load-}}
redis:
  persistence: {storageClassName: fast, appendfsync: always}
  extraConfig: |
    maxclients 20000
    timeout 0
networkPolicy:
  commentFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: gateway}}}]
  statisticsFrom: [{ipBlock: {cidr: 10.0.0.0/8}}]
  dnsTo: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]
ingress:
  enabled: true
  className: traefik
  annotations: {example.org/timeout: "3600"}
  hosts: [live.example.org, "*.live.example.org"]
  tls: [{hosts: [live.example.org], secretName: live-tls}]
httpRoute:
  enabled: true
  parentRefs: [{name: public, namespace: gateway, sectionName: https}]
  hostnames: [live.example.org]
  annotations: {example.org/note: live}
monitoring:
  serviceMonitor: {enabled: true, labels: {release: prometheus}}
  prometheusRule: {enabled: true, labels: {release: prometheus}, alertLabels: {team: video}}
  dashboard: {enabled: true, annotations: {grafana_folder: Video}}
`

const (
	keda = `
reader: {autoscaling: {connections: {enabled: true, source: keda}}}`
	byHand = `
comment: {replicas: null}
reader: {replicas: null, autoscaling: {enabled: false}}
client: {enabled: true, replicas: null}`
	externalURL = `
redis: {enabled: false}
externalRedis: {url: "rediss://user:p%40ss@redis.example.org:6380/0"}
networkPolicy: {externalRedis: {port: 6380, to: [{ipBlock: {cidr: 10.1.0.0/16}}]}}`
	externalSecret = `
redis: {enabled: false}
externalRedis: {existingSecret: shared-redis, existingSecretKey: url, tls: {caSecret: redis-ca, caSecretKey: root.crt, certSecret: redis-client}}`
	passwordSecret = `
redis: {auth: {existingSecret: shared-redis, existingSecretKey: redis-password}}`
	random      = "routing: {mode: random}"
	publicPages = `
routing: {mode: random}
statistics: {pages: {public: true, commentUrl: "https://api.example.org/live"}}
ingress: {enabled: true, hosts: ["*.example.org", live.example.org]}
httpRoute: {enabled: true, parentRefs: [{name: public}]}`
	hostPorts = `
routing: {mode: redirect}
reader: {hostPort: 4000, replicas: 3, autoscaling: {enabled: false}}
client: {enabled: true}`
	secured = `
routing: {mode: redirect}
reader:
  advertise: {url: "https://$(NODE_NAME).live.example.org:8443/"}
  tls: {secretName: live-tls}
client: {enabled: true}
monitoring: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}}`
	noPassword = `
redis: {auth: {enabled: false}}`
)

// valueSets are those that operators choose, as they stand in their files.
var valueSets = map[string]string{
	"the defaults":               "",
	"everything":                 everything,
	"KEDA scales by connections": keda,
	"KEDA scales by connections alone": `
reader:
  maxConnections: 2000000
  autoscaling: {cpu: {enabled: false}, connections: {enabled: true, source: keda, averageValue: 1000000}}`,
	"the adapter's metric alone": `
reader: {autoscaling: {cpu: {enabled: false}, connections: {enabled: true}}}`,
	"scaled by hand": byHand,
	"one of each": `
comment: {replicas: 1}
reader: {replicas: 1, autoscaling: {enabled: false}}`,
	"none, and no time to drain": `
comment: {replicas: 0, drain: {preStopSeconds: 0}}
reader: {replicas: 0, autoscaling: {enabled: false}, drain: {preStopSeconds: 0, periodSeconds: 0}}`,
	"a Redis elsewhere by its URL":                     externalURL,
	"a Redis elsewhere by a Secret, with certificates": externalSecret,
	"viewers go to any reader":                         random,
	"pages for everybody":                              publicPages,
	"no pages":                                         "statistics: {pages: {enabled: false}}",
	"viewers are sent to a port of the reader's node":  hostPorts,
	"viewers are sent to readers that speak TLS":       secured,
	"a gateway of one's own making": `
commonLabels: {team: video}
podAnnotations: {example.org/restarted: "1"}
client: {enabled: true}
gateway:
  replicas: null
  image: {repository: localhost/haproxy, tag: "3.0"}
  maxConnections: 1000000
  drain: {preStopSeconds: 0, timeoutSeconds: 600}
  service: {type: LoadBalancer, port: 8080, annotations: {example.org/lb: "true"}}
  pdb: {maxUnavailable: 50%}
  nodeSelector: {kubernetes.io/arch: amd64}
  tolerations: [{key: video, operator: Exists, effect: NoSchedule}]
  affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname}}]}}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}]
  priorityClassName: high
ingress: {enabled: true, hosts: [live.example.org]}
httpRoute: {enabled: true, parentRefs: [{name: public, namespace: gateway}]}
networkPolicy: {gatewayFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: edge}}}]}
monitoring: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}`,
	"a password from a Secret": passwordSecret,
	"no password":              noPassword,
	"no network policies, no accounts, no budgets": `
networkPolicy: {enabled: false}
serviceAccount: {create: false}
comment: {pdb: {enabled: false}}
reader: {pdb: {enabled: false}}`,
	"images from elsewhere": `
comment: {image: "example.org/comment@sha256:0123456789012345678901234567890123456789012345678901234567890123"}
reader: {image: "example.org:5000/reader:latest"}
statistics: {image: statistics}
client: {image: client}
redis: {image: {repository: localhost/redis, tag: "8.0"}}`,
	"a part of another chart": `
enabled: true
global: {imageRegistry: example.org}
fullnameOverride: live
nameOverride: comments`,
	"KEDA with its own behavior": `
reader: {autoscaling: {behavior: null, connections: {enabled: true, source: keda}}}`,
	"objects taken away by null": `
image: {pullSecrets: null, tag: null}
comment: {resources: null, env: null, nodeSelector: null, tolerations: null, affinity: null, topologySpreadConstraints: null}
reader: {resources: null, autoscaling: {enabled: false, behavior: null}, priorityClassName: null, service: {annotations: null}}
redis: {resources: null, extraConfig: null, auth: {existingSecret: null}}
networkPolicy: {commentFrom: null, readerFrom: null, statisticsFrom: null, monitoringFrom: null, dnsTo: null}
monitoring: {prometheusRule: {enabled: true, alertLabels: null, disabled: null, labels: null}}`,
}
