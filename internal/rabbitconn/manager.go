package rabbitconn

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/apium/apium/settings/connection"
)

// Manager asks RabbitMQ's management plugin about a virtual host.
type Manager struct {
	base               string // http://host:port
	username, password string
	vhost              string
	client             *http.Client
}

// managerTimeout is how long the plugin may take to answer: it is asked whether or not there is one.
const managerTimeout = 3 * time.Second

// Manager is the management plugin of the first server.
func (c *Config) Manager(at connection.Manager) *Manager {
	s := c.servers[0]
	scheme, port := "http", 15672
	var encrypted *tls.Config
	if s.tls != nil {
		scheme, port, encrypted = "https", 15671, s.tls.Clone()
	}
	return &Manager{
		base:     scheme + "://" + net.JoinHostPort(cmp.Or(at.Hostname, s.host), strconv.Itoa(cmp.Or(at.Port, port))),
		username: cmp.Or(at.Username, s.username), password: cmp.Or(at.Password, s.password), vhost: s.vhost,
		client: &http.Client{Timeout: managerTimeout, Transport: &http.Transport{TLSClientConfig: encrypted, DisableKeepAlives: true}},
	}
}

// String is where the plugin is asked.
func (m *Manager) String() string { return m.base }

// Get reads the answer to a question about the virtual host into a value: what stands in the API's path before the
// virtual host, and after it.
func (m *Manager) Get(ctx context.Context, kind string, after []string, into any) error {
	path := m.base + "/api/" + kind + "/" + url.PathEscape(m.vhost)
	for _, part := range after {
		path += "/" + url.PathEscape(part)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	if err != nil {
		return err
	}
	request.SetBasicAuth(m.username, m.password)
	response, err := m.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, response.Body, 1<<16) // what it says is HTML, or says no more
		return fmt.Errorf("it answers %s", response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
