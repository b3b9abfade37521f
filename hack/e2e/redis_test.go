//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/livecomments/livecomments/hack/e2e/release"
)

const (
	strangerNamespace = "livecomments-stranger"
	externalNamespace = "livecomments-external"
)

// redisPod is a pod with the image that the chart runs Redis with, for another command.
func (s *system) redisPod(t *testing.T, namespace, name string, labels map[string]string, command ...string) *corev1.Pod {
	t.Helper()
	set, err := s.Kube.AppsV1().StatefulSets("livecomments").Get(t.Context(), "livecomments-redis", metav1.GetOptions{})
	require.NoError(t, err)
	template := set.Spec.Template.Spec
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, SecurityContext: template.SecurityContext, AutomountServiceAccountToken: new(bool),
			Containers: []corev1.Container{{
				Name: "redis", Image: template.Containers[0].Image, Command: command, SecurityContext: template.Containers[0].SecurityContext,
			}},
		},
	}
}

// says runs a pod to its end and returns what it printed.
func (s *system) says(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	pods := s.Kube.CoreV1().Pods(pod.Namespace)
	_, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	await(t, time.Minute, func() error {
		now, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != corev1.PodSucceeded && now.Status.Phase != corev1.PodFailed {
			err = fmt.Errorf("%s is %s", pod.Name, now.Status.Phase)
		}
		return err
	})
	log, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{}).Stream(t.Context())
	require.NoError(t, err)
	defer func() { _ = log.Close() }()
	text, err := io.ReadAll(log)
	require.NoError(t, err)
	require.NoError(t, pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{}))
	t.Logf("%s/%s: %s", pod.Namespace, pod.Name, bytes.TrimSpace(text))
	return string(text)
}

func redisIsClosed(t *testing.T, s *system) {
	restricted(t, s.Cluster, strangerNamespace)
	// It may call whomever it likes: what keeps it out must be Redis' own policy.
	require.NoError(t, s.Kube.NetworkingV1().NetworkPolicies(strangerNamespace).Delete(t.Context(), "deny-all", metav1.DeleteOptions{}))
	// Policies reach a new pod after a moment.
	ping := []string{"sh", "-c", "getent hosts livecomments-redis.livecomments.svc.cluster.local; for i in 1 2 3 4 5; do timeout 5 redis-cli -h livecomments-redis.livecomments.svc.cluster.local ping; sleep 1; done"}
	stranger := s.says(t, s.redisPod(t, strangerNamespace, "stranger", nil, ping...))
	service, err := s.Kube.CoreV1().Services(namespace).Get(t.Context(), "livecomments-redis", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Contains(t, stranger, service.Spec.ClusterIP, "it knows where Redis is")
	assert.NotContains(t, stranger, "NOAUTH")
	assert.NotContains(t, stranger, "PONG")

	part := map[string]string{"app.kubernetes.io/name": "livecomments", "app.kubernetes.io/instance": "livecomments", "app.kubernetes.io/component": "comment"}
	assert.Contains(t, s.says(t, s.redisPod(t, namespace, "part-without-password", part, ping...)), "NOAUTH")
}

// certificates makes an authority, and for each name a Secret with a certificate that it has signed. A name can be several hosts,
// separated by commas.
func certificates(t *testing.T, names ...string) map[string]map[string][]byte {
	t.Helper()
	serial := int64(0)
	sign := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		if by == nil {
			parent, by = template, own
		}
		serial++
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(serial), time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &own.PublicKey, by)
		require.NoError(t, err)
		return template, own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	root, rootKey, authority := sign(&x509.Certificate{Subject: pkix.Name{CommonName: "end-to-end tests"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	secrets := map[string]map[string][]byte{}
	for _, name := range names {
		leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "livecomments"}}
		for host := range strings.SplitSeq(name, ",") {
			if ip := net.ParseIP(host); ip != nil {
				leaf.IPAddresses = append(leaf.IPAddresses, ip)
			} else {
				leaf.DNSNames = append(leaf.DNSNames, host)
			}
		}
		_, key, cert := sign(leaf, root, rootKey)
		der, err := x509.MarshalECPrivateKey(key)
		require.NoError(t, err)
		secrets[name] = map[string][]byte{"ca.crt": authority, "tls.crt": cert, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})}
	}
	return secrets
}

// externalRedis runs a Redis that speaks TLS only, under a certificate of an authority of its own, and wants one of the same
// authority. It installs the chart beside it to use that.
func externalRedis(t *testing.T, s *system) {
	restricted(t, s.Cluster, externalNamespace)
	const host = "redis." + externalNamespace + ".svc.cluster.local"
	secrets := certificates(t, host, "livecomments")
	core := s.Kube.CoreV1()
	for _, secret := range []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: "redis-server"}, Type: corev1.SecretTypeTLS, Data: secrets[host]},
		{ObjectMeta: metav1.ObjectMeta{Name: "redis-authority"}, Data: map[string][]byte{"root.crt": secrets[host]["ca.crt"]}},
		{ObjectMeta: metav1.ObjectMeta{Name: "redis-client"}, Type: corev1.SecretTypeTLS, Data: secrets["livecomments"]},
	} {
		_, err := core.Secrets(externalNamespace).Create(t.Context(), secret, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	labels := map[string]string{"app": "redis"}
	pod := s.redisPod(t, externalNamespace, "redis", labels, "redis-server", "--port", "0", "--tls-port", "6379", "--requirepass", "open sesame", "--save", "",
		"--tls-cert-file", "/tls/tls.crt", "--tls-key-file", "/tls/tls.key", "--tls-ca-cert-file", "/tls/ca.crt", "--tls-auth-clients", "yes",
		"--dir", "/tmp")
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tls", MountPath: "/tls", ReadOnly: true}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "redis-server"}}}}
	_, err := core.Pods(externalNamespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = core.Services(externalNamespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "redis"},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 6379, TargetPort: intstr.FromInt32(6379)}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	// The chart's policies let its parts out to it; whom it lets in is not theirs to say.
	require.NoError(t, s.Kube.NetworkingV1().NetworkPolicies(externalNamespace).Delete(t.Context(), "deny-all", metav1.DeleteOptions{}))

	own, err := release.New(s.Kubeconfig, externalNamespace, "own-redis")
	require.NoError(t, err)
	values := release.Values{Files: valueFiles()}
	values.Set = append(values.Set, "routing.mode=random", "redis.enabled=false", "externalRedis.url=rediss://:open%20sesame@"+host+":6379",
		"externalRedis.tls.caSecret=redis-authority", "externalRedis.tls.caSecretKey=root.crt", "externalRedis.tls.certSecret=redis-client", "client.enabled=false", "reader.replicas=1", "comment.replicas=1", "reader.autoscaling.enabled=false",
		"comment.service.type=ClusterIP", "comment.service.nodePort=null", "reader.service.type=ClusterIP", "reader.service.nodePort=null",
		"statistics.service.type=ClusterIP", "statistics.service.nodePort=null")
	require.NoError(t, own.Install(t.Context(), s.chart, values, patience))
	require.NoError(t, own.Test(patience))
	require.NoError(t, own.Uninstall(patience))
}
