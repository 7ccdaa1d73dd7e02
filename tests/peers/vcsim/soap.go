// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

const cookieName = "vmware_soap_session"

var (
	mu       sync.Mutex
	sessions = map[string]bool{}   // those that may read the datastores
	tickets  = map[string]string{} // one-shot service tickets by id, with the URL they are for
	calls    = map[string]int{}    // how often each method was called
)

type envelope struct {
	Body struct {
		Changed  *types.QueryChangedDiskAreas        `xml:"QueryChangedDiskAreas"`
		Export   *types.ExportVm                     `xml:"ExportVm"`
		ExportS  *types.ExportSnapshot               `xml:"ExportSnapshot"`
		Create   *types.CreateSnapshot_Task          `xml:"CreateSnapshot_Task"`
		Remove   *types.RemoveSnapshot_Task          `xml:"RemoveSnapshot_Task"`
		Revert   *types.RevertToSnapshot_Task        `xml:"RevertToSnapshot_Task"`
		Ticket   *types.AcquireGenericServiceTicket  `xml:"AcquireGenericServiceTicket"`
		Logout   *types.Logout                       `xml:"Logout"`
		Retrieve *types.RetrievePropertiesEx         `xml:"RetrievePropertiesEx"`
		Continue *types.ContinueRetrievePropertiesEx `xml:"ContinueRetrievePropertiesEx"`
		Manifest *types.HttpNfcLeaseGetManifest      `xml:"HttpNfcLeaseGetManifest"`
	} `xml:"Body"`
}

type reply struct {
	XMLName xml.Name    `xml:"http://schemas.xmlsoap.org/soap/envelope/ Envelope"`
	Body    interface{} `xml:"http://schemas.xmlsoap.org/soap/envelope/ Body"`
}

// watcher keeps the session cookies that the simulator hands out.
type watcher struct{ http.ResponseWriter }

func (w watcher) WriteHeader(code int) {
	w.learn()
	w.ResponseWriter.WriteHeader(code)
}

func (w watcher) Write(data []byte) (int, error) {
	w.learn()
	return w.ResponseWriter.Write(data)
}

func (w watcher) learn() {
	for _, cookie := range (&http.Response{Header: w.Header()}).Cookies() {
		if cookie.Name == cookieName && cookie.Value != "" {
			mu.Lock()
			sessions[cookie.Value] = true
			mu.Unlock()
		}
	}
}

func session(r *http.Request) string {
	if cookie, err := r.Cookie(cookieName); err == nil {
		return strings.Trim(cookie.Value, `"`)
	}
	return ""
}

func sdk(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := session(r)
		mu.Lock()
		alive := sessions[id]
		mu.Unlock()
		if id != "" && !alive { // expired: the simulator knows no such state, so it sees no session at all
			r.Header.Del("Cookie")
		}
		raw, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(raw))
		count(raw)
		var request envelope
		decoder := xml.NewDecoder(bytes.NewReader(raw))
		decoder.TypeFunc = types.TypeFunc()
		if r.Method == http.MethodPost && decoder.Decode(&request) == nil {
			if result := answer(&request, alive); result != nil {
				send(w, result)
				return
			}
		}
		if request.Body.Continue != nil && alive {
			proceed(w, request.Body.Continue)
			return
		}
		if request.Body.Retrieve != nil {
			retrieve(w, r, next, request.Body.Retrieve)
			return
		}
		if bytes.Contains(raw, []byte("<Fetch ")) {
			defer unset(w)
		}
		next.ServeHTTP(watcher{w}, r)
		if request.Body.Create != nil {
			grow(simulator.Map.Get(request.Body.Create.This).(*simulator.VirtualMachine))
		}
		if request.Body.Logout != nil {
			mu.Lock()
			delete(sessions, id)
			mu.Unlock()
		}
	}
}

// unset answers a question for a property without a value, as clients since pyVmomi 8 ask it; the simulator falls over it.
func unset(w http.ResponseWriter) {
	if recover() != nil {
		io.WriteString(w, `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><FetchResponse xmlns="urn:vim25"/></Body></Envelope>`)
	}
}

func count(raw []byte) {
	at := bytes.Index(raw, []byte("Body>"))
	if at < 0 {
		return
	}
	rest := strings.TrimLeft(string(raw[at+5:]), "< \n")
	end := strings.IndexAny(rest, " >")
	if end > 0 {
		mu.Lock()
		calls[rest[strings.Index(rest[:end], ":")+1:end]]++
		mu.Unlock()
	}
}

// answer gives what the simulator cannot; nil means that it can.
func answer(request *envelope, alive bool) soap.HasFault {
	body := request.Body
	if !alive && (body.Changed != nil || body.Export != nil || body.ExportS != nil || body.Ticket != nil) {
		return &methods.QueryChangedDiskAreasBody{Fault_: simulator.Fault("", new(types.NotAuthenticated))}
	}
	switch {
	case body.Changed != nil:
		return changed(body.Changed)
	case body.Export != nil:
		vm := simulator.Map.Get(body.Export.This).(*simulator.VirtualMachine)
		if state := vm.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOff {
			return &methods.ExportVmBody{Fault_: simulator.Fault("", &types.InvalidPowerState{
				ExistingState: state, RequestedState: types.VirtualMachinePowerStatePoweredOff})}
		}
		return &methods.ExportVmBody{Res: &types.ExportVmResponse{Returnval: lease(vm.Self, vm.Config.Hardware.Device)}}
	case body.ExportS != nil:
		s := simulator.Map.Get(body.ExportS.This).(*simulator.VirtualMachineSnapshot)
		return &methods.ExportSnapshotBody{Res: &types.ExportSnapshotResponse{Returnval: lease(s.Vm, s.Config.Hardware.Device)}}
	case body.Remove != nil: // 0.24.2 names the snapshot as the task's entity, which pyvmomi refuses
		s := simulator.Map.Get(body.Remove.This).(*simulator.VirtualMachineSnapshot)
		task := simulator.CreateTask(s.Vm, "removeSnapshot", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
			// Its list of files is renumbered meanwhile, so it would delete a file by another one's number.
			simulator.Map.Get(s.Vm).(*simulator.VirtualMachine).LayoutEx.Snapshot = nil
			s.RemoveSnapshotTask(&simulator.Context{Context: context.Background(), Map: simulator.Map}, body.Remove)
			shrink(simulator.Map.Get(s.Vm).(*simulator.VirtualMachine))
			return nil, nil
		})
		return &methods.RemoveSnapshot_TaskBody{Res: &types.RemoveSnapshot_TaskResponse{Returnval: task.Run()}}
	case body.Revert != nil:
		s := simulator.Map.Get(body.Revert.This).(*simulator.VirtualMachineSnapshot)
		task := simulator.CreateTask(s.Vm, "revertToSnapshot", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
			s.RevertToSnapshotTask(body.Revert)
			return nil, nil
		})
		return &methods.RevertToSnapshot_TaskBody{Res: &types.RevertToSnapshot_TaskResponse{Returnval: task.Run()}}
	case body.Ticket != nil:
		id := uuid.New().String()
		if spec, ok := body.Ticket.Spec.(*types.SessionManagerHttpServiceRequestSpec); ok {
			mu.Lock()
			tickets[id] = spec.Url
			mu.Unlock()
		}
		return &methods.AcquireGenericServiceTicketBody{Res: &types.AcquireGenericServiceTicketResponse{
			Returnval: types.SessionManagerGenericServiceTicket{Id: id}}}
	case body.Manifest != nil:
		return manifest(body.Manifest)
	}
	return nil
}

func send(w http.ResponseWriter, result soap.HasFault) {
	if fault := result.Fault(); fault != nil {
		kind := reflect.TypeOf(fault.Detail.Fault).Elem().Name()
		var detail bytes.Buffer
		xml.NewEncoder(&detail).EncodeElement(fault.Detail.Fault, xml.StartElement{Name: xml.Name{Local: kind + "Fault"}, Attr: []xml.Attr{
			{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"}, {Name: xml.Name{Local: "xsi:type"}, Value: kind}}})
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `%s<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" `+
			`xmlns:xsd="http://www.w3.org/2001/XMLSchema"><e:Body><e:Fault><faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring>`+
			`<detail>%s</detail></e:Fault></e:Body></e:Envelope>`, xml.Header, kind, detail.String())
		return
	}
	fmt.Fprint(w, xml.Header)
	if err := xml.NewEncoder(w).Encode(&reply{Body: result}); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// control is how a test steers the peer: POST /_peer/{fault,expire,reset}, GET /_peer/calls.
func control(w http.ResponseWriter, r *http.Request) {
	mu.Lock()
	defer mu.Unlock()
	switch strings.TrimPrefix(r.URL.Path, "/_peer/") {
	case "fault":
		var f fault
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		faults = append(faults, &f)
	case "say": // in every answer about properties one text is another
		var words struct{ Of, For string }
		if err := json.NewDecoder(r.Body).Decode(&words); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		said = append(said, escaped(words.Of), escaped(words.For))
	case "clear":
		faults, calls, ranges, said = nil, map[string]int{}, nil, nil
	case "expire":
		sessions = map[string]bool{}
	case "reset": // change tracking begins anew
		epoch = uuid.New().String()[:8]
	case "calls":
		json.NewEncoder(w).Encode(calls)
	case "ranges":
		json.NewEncoder(w).Encode(ranges)
	case "leases":
		json.NewEncoder(w).Encode(leaseStates())
	default:
		http.NotFound(w, r)
	}
}
