"""DDE: services, topics and items as securable objects; see `desk`."""

from stead.server.dde.desk import DdeDesk, dde_impersonate_client
from stead.server.dde.objects import DdeRights
from stead.server.dde.ports import DdeConversation
from stead.server.dde.services import DdeService
from stead.server.dde.topics import DdeTopic

__all__ = ["DdeConversation", "DdeDesk", "DdeRights", "DdeService", "DdeTopic",
           "dde_impersonate_client"]  # fmt: skip
