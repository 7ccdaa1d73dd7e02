// SPDX-License-Identifier: GPL-3.0-or-later

// vcsim is the vSphere simulator of govmomi 0.24.2, as Debian packages it, behind a front that adds what it lacks:
// authenticated datastore access, changed block tracking, snapshots with child disks, NFC leases, and faults on demand.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

var (
	user     = flag.String("user", "user", "who may log in")
	password = flag.String("password", "pass", "and with what")
	base     *url.URL
)

func main() {
	listen := flag.String("l", "127.0.0.1:0", "where to listen")
	esx := flag.Bool("esx", false, "a standalone host instead of a vCenter")
	machines := flag.Int("vms", 2, "VMs in each resource pool")
	cert := flag.String("cert", "", "certificate of the server")
	key := flag.String("key", "", "its key")
	flag.Parse()

	model := simulator.VPX()
	if *esx {
		model = simulator.ESX()
	}
	model.Machine = *machines
	defer model.Remove()
	if err := model.Create(); err != nil {
		panic(err)
	}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		entity.(*simulator.VirtualMachine).Capability.ChangeTrackingSupported = types.NewBool(true)
	}
	model.Service.RegisterEndpoints = true
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*user, *password)}
	inner := model.Service.NewServer()
	defer inner.Close()

	socket, err := net.Listen("tcp", *listen)
	if err != nil {
		panic(err)
	}
	base = &url.URL{Scheme: "https", Host: socket.Addr().String(), Path: "/sdk"}
	mux := http.NewServeMux()
	mux.HandleFunc("/_peer/", control)
	mux.HandleFunc("/nfcx/", faulty(serveLease))
	mux.HandleFunc("/folder/", faulty(folder(model.Service.ServeMux)))
	mux.HandleFunc("/folder", faulty(folder(model.Service.ServeMux)))
	mux.HandleFunc("/", sdk(model.Service.ServeMux))
	go func() { panic(http.ServeTLS(socket, mux, *cert, *key)) }()
	fmt.Printf("%s\n", base)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
