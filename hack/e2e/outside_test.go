//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/livecomments/livecomments/hack/e2e/release"
)

const (
	outsideNamespace = "livecomments-outside"
	refusedNamespace = "livecomments-refused"
)

// watchFromHere has 60 viewers on this machine, outside the cluster, watch and post while something happens, and returns what they
// found.
func (s *system) watchFromHere(t *testing.T, name string, settings map[string]string, happens func()) (f found) {
	t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, port.Close())
	_, number, err := net.SplitHostPort(port.Addr().String())
	require.NoError(t, err)
	client := exec.Command(filepath.Join(root, "bin/images/client"), "--viewers=60", "--videos=12", "--comments-per-minute=20", "--video-prefix="+name+"-", "--settle-timeout=15s")
	client.Env = append(os.Environ(), "PORT="+number, "STATISTICS_API_URL=", "INSTANCE_ID="+name)
	for setting, value := range settings {
		client.Env = append(client.Env, setting+"="+value)
	}
	var log bytes.Buffer
	client.Stdout, client.Stderr = &log, &log
	require.NoError(t, client.Start())
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			_ = client.Process.Kill()
			_ = client.Wait()
		}
	})
	metrics := func() string {
		_, body, _ := request("GET", "http://127.0.0.1:"+number+"/metrics", "")
		return string(body)
	}
	connected := func() error {
		if text := metrics(); !strings.Contains(text, "\nlivecomments_client_connected 60\n") {
			return fmt.Errorf("not all viewers have a stream: %s", tail(log.String()))
		}
		return nil
	}
	await(t, time.Minute, connected)
	happens()
	await(t, time.Minute, connected)
	time.Sleep(3 * time.Second)
	require.NoError(t, client.Process.Signal(syscall.SIGTERM))
	stopped = true
	require.NoError(t, client.Wait(), tail(log.String()))
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "all viewers have left") {
			require.NoError(t, json.Unmarshal([]byte(line), &f))
		}
	}
	t.Log(name+":", f.String())
	return f
}

func tail(text string) string { return text[max(0, len(text)-2000):] }

// hostPortValues are those of a small fleet whose readers have a port on each node.
func hostPortValues() release.Values {
	return release.Values{Files: valueFiles(), Set: []string{
		"routing.mode=redirect", "reader.hostPort=4000", "reader.replicas=2", "comment.replicas=1", "client.enabled=false",
		"comment.service.nodePort=30310", "reader.service.nodePort=30410", "statistics.service.type=ClusterIP", "statistics.service.nodePort=null",
	}}
}

func hostPortsRefused(t *testing.T, s *system) {
	restricted(t, s.Cluster, refusedNamespace)
	refused, err := release.New(s.Kubeconfig, refusedNamespace, "refused")
	require.NoError(t, err)
	err = refused.Install(t.Context(), s.chart, hostPortValues(), time.Minute)
	require.ErrorContains(t, err, "reader.hostPort=4000 is refused in the namespace "+refusedNamespace+", whose label pod-security.kubernetes.io/enforce is restricted")
	t.Log(err)
	assert.Empty(t, s.podsIn(t, refusedNamespace), "nothing was installed")
	services, err := s.Kube.CoreV1().Services(refusedNamespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, services.Items, "nothing was installed")
}

// hostPorts installs a fleet beside the other one, where host ports are allowed.
func hostPorts(t *testing.T, s *system) {
	core := s.Kube.CoreV1()
	_, err := core.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: outsideNamespace, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "privileged",
	}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	nodes, err := core.Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var addresses []string
	for _, node := range nodes.Items {
		for _, address := range node.Status.Addresses {
			if address.Type == corev1.NodeInternalIP {
				addresses = append(addresses, address.Address)
			}
		}
	}
	all := strings.Join(addresses, ",")
	secret := certificates(t, all)[all]
	_, err = core.Secrets(outsideNamespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"}, Type: corev1.SecretTypeTLS,
		Data: secret,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	authorityFile := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(authorityFile, secret["ca.crt"], 0o600))

	outside := *s
	outside.release, err = release.New(s.Kubeconfig, outsideNamespace, "outside")
	require.NoError(t, err)
	tooMany := hostPortValues()
	tooMany.Set = append(tooMany.Set, "reader.replicas=9")
	err = outside.release.Install(t.Context(), s.chart, tooMany, time.Minute)
	require.ErrorContains(t, err, "reader.replicas=9 is more than the")
	t.Log(err)

	values := hostPortValues()
	values.Set = append(values.Set, "reader.tls.secretName=readers")
	require.NoError(t, outside.release.Install(t.Context(), s.chart, values, patience))
	outside.mode = redirect
	f := outside.watchFromHere(t, "host-ports", map[string]string{
		"COMMENT_API_URL": "http://" + addresses[0] + ":30310", "READER_API_URLS": "https://" + addresses[0] + ":30410", "READER_CA_FILE": authorityFile,
	}, func() {
		rolled := values
		rolled.Set = append(values.Set[:len(values.Set):len(values.Set)], "reader.heartbeat=14s")
		require.NoError(t, outside.release.Upgrade(t.Context(), s.chart, rolled, patience))
		outside.awaitPods(t, "reader", 2, patience)
	})
	f.content(t)
	assert.GreaterOrEqual(t, f.Verification.Reconnects, uint64(60), "every viewer has moved to a new pod")
	require.NoError(t, outside.release.Uninstall(patience))
}
